/**
 * The clients that most applications are made with, each brought to the same few questions, so that one table of cases
 * asks them all. Nothing of a client is replaced: each makes its own requests and reads the answers in its own way.
 */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, type LanguageModel, streamText } from "ai";
import OpenAI from "openai";

export interface Asked {
  prompt: string;
  system?: string;
  model: string;
  maxTokens?: number;
  /** Greedy unless it says otherwise. */
  temperature?: number;
  maxRetries?: number;
  signal?: AbortSignal;
}

export interface Told {
  text: string;
  promptTokens: number;
  completionTokens: number;
  isCut: boolean;
}

export interface ChatClient {
  name: string;
  whole(asked: Asked): Promise<Told>;
  stream(asked: Asked, onPiece: (text: string) => void): Promise<Told>;
}

export type Fetch = typeof globalThis.fetch;

/** @param fetch in the place of the one that each of them would use */
export function chatClients(serverUrl: string, fetch?: Fetch): ChatClient[] {
  const at = { baseURL: `${serverUrl}/v1`, apiKey: "any", ...(fetch && { fetch }) };
  const compatible = createOpenAICompatible({ name: "runnel", includeUsage: true, ...at });
  const official = createOpenAI(at);
  return [
    openaiChat(at),
    openaiResponses(at),
    aiSdk("ai + @ai-sdk/openai-compatible", (model) => compatible(model)),
    aiSdk("ai + @ai-sdk/openai, responses", (model) => official(model)),
    aiSdk("ai + @ai-sdk/openai, chat", (model) => official.chat(model)),
    langchain("@langchain/openai", at, false),
    langchain("@langchain/openai, responses", at, true),
  ];
}

interface Address {
  baseURL: string;
  apiKey: string;
  fetch?: Fetch;
}

function openaiChat(at: Address): ChatClient {
  const body = ({ prompt, system, model, maxTokens, temperature }: Asked) => ({
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
      { role: "user" as const, content: prompt },
    ],
    temperature: temperature ?? 0,
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
  });
  const told = ({ choices, usage }: OpenAI.ChatCompletion): Told => ({
    text: choices[0]!.message.content!,
    promptTokens: usage!.prompt_tokens,
    completionTokens: usage!.completion_tokens,
    isCut: choices[0]!.finish_reason === "length",
  });
  const client = (asked: Asked) => new OpenAI({ ...at, maxRetries: asked.maxRetries ?? 0 });
  const options = ({ signal }: Asked) => ({ ...(signal && { signal }) });
  return {
    name: "openai, chat",
    whole: async (asked) => told(await client(asked).chat.completions.create(body(asked), options(asked))),
    async stream(asked, onPiece) {
      const withUsage = { ...body(asked), stream_options: { include_usage: true } };
      const stream = client(asked).chat.completions.stream(withUsage, options(asked));
      stream.on("content", onPiece);
      return told(await stream.finalChatCompletion());
    },
  };
}

function openaiResponses(at: Address): ChatClient {
  const body = ({ prompt, system, model, maxTokens, temperature }: Asked) => ({
    model,
    input: prompt,
    temperature: temperature ?? 0,
    ...(system !== undefined && { instructions: system }),
    ...(maxTokens !== undefined && { max_output_tokens: maxTokens }),
  });
  const told = ({ output_text, usage, status }: OpenAI.Responses.Response): Told => ({
    text: output_text,
    promptTokens: usage!.input_tokens,
    completionTokens: usage!.output_tokens,
    isCut: status === "incomplete",
  });
  const client = (asked: Asked) => new OpenAI({ ...at, maxRetries: asked.maxRetries ?? 0 });
  const options = ({ signal }: Asked) => ({ ...(signal && { signal }) });
  return {
    name: "openai, responses",
    whole: async (asked) => told(await client(asked).responses.create(body(asked), options(asked))),
    async stream(asked, onPiece) {
      const stream = client(asked).responses.stream(body(asked), options(asked));
      stream.on("response.output_text.delta", ({ delta }) => onPiece(delta));
      return told(await stream.finalResponse());
    },
  };
}

function aiSdk(name: string, modelOf: (model: string) => LanguageModel): ChatClient {
  const options = ({ prompt, system, model, maxTokens, temperature, maxRetries, signal }: Asked) => ({
    model: modelOf(model),
    prompt,
    temperature: temperature ?? 0,
    maxRetries: maxRetries ?? 0,
    ...(system !== undefined && { instructions: system }),
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(signal && { abortSignal: signal }),
  });
  const told = (
    text: string,
    usage: { inputTokens: number | undefined; outputTokens: number | undefined },
    reason: string,
  ): Told => ({
    text,
    promptTokens: usage.inputTokens ?? 0,
    completionTokens: usage.outputTokens ?? 0,
    isCut: reason === "length",
  });
  return {
    name,
    async whole(asked) {
      const { text, usage, finishReason } = await generateText(options(asked));
      return told(text, usage, finishReason);
    },
    async stream(asked, onPiece) {
      const failures: unknown[] = [];
      const result = streamText({ ...options(asked), onError: ({ error }) => void failures.push(error) });
      for await (const piece of result.textStream) onPiece(piece);
      if (failures.length > 0) throw failures[0];
      return told(await result.text, await result.usage, await result.finishReason);
    },
  };
}

function langchain(name: string, { baseURL, apiKey, fetch }: Address, useResponsesApi: boolean): ChatClient {
  const model = ({ model, maxTokens, temperature, maxRetries }: Asked) =>
    new ChatOpenAI({
      model,
      apiKey,
      useResponsesApi,
      temperature: temperature ?? 0,
      maxRetries: maxRetries ?? 0,
      configuration: { baseURL, ...(fetch && { fetch }) },
      ...(maxTokens !== undefined && { maxTokens }),
    });
  const messages = ({ prompt, system }: Asked): [string, string][] => [
    ...(system === undefined ? [] : [["system", system] as [string, string]]),
    ["human", prompt],
  ];
  const options = ({ signal }: Asked) => ({ ...(signal && { signal }) });
  type Message = Awaited<ReturnType<ChatOpenAI["invoke"]>>;
  const told = ({ text, usage_metadata, response_metadata }: Message): Told => {
    // Declared as never there.
    const usage = usage_metadata as unknown as { input_tokens: number; output_tokens: number };
    return {
      text,
      promptTokens: usage.input_tokens,
      completionTokens: usage.output_tokens,
      isCut: response_metadata.finish_reason === "length" || response_metadata.status === "incomplete",
    };
  };
  return {
    name,
    whole: async (asked) => told(await model(asked).invoke(messages(asked), options(asked))),
    async stream(asked, onPiece) {
      let whole: Message | null = null;
      for await (const chunk of await model(asked).stream(messages(asked), options(asked))) {
        if (chunk.text !== "") onPiece(chunk.text);
        whole = whole === null ? chunk : whole.concat(chunk);
      }
      return told(whole!);
    },
  };
}

/** The HTTP status that a client's error tells of, wherever it keeps it. */
export function statusOf(error: unknown): number | null {
  const { status, statusCode, lastError } = error as { status?: number; statusCode?: number; lastError?: unknown };
  return status ?? statusCode ?? (lastError === undefined ? null : statusOf(lastError));
}
