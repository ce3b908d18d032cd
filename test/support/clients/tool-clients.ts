/** The clients of `chat-clients.ts` with a tool: each offers it, runs what is called, and asks again with the results. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ToolMessage } from "@langchain/core/messages";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { tool as aiTool, generateText, isStepCount, type LanguageModel, streamText } from "ai";
import OpenAI from "openai";
import * as z from "zod";
import type { Fetch } from "./chat-clients.ts";

export const TOOL_NAME = "weather";
const DESCRIPTION = "The weather of a city.";
/** Short, so that a model which was never taught to call comes to an end, too. */
const CITY_CHARS_MAX = 12;
const citySchema = z.object({ city: z.string().max(CITY_CHARS_MAX) });
/** As a client would write it by hand. */
const PARAMETERS = {
  type: "object",
  properties: { city: { type: "string", maxLength: CITY_CHARS_MAX } },
  required: ["city"],
  additionalProperties: false,
};

export interface ToolAsked {
  model: string;
  prompt: string;
  stream: boolean;
  /** In the first request; from then on "auto". */
  choice: "auto" | "required" | "named";
  maxTokens?: number;
  run(input: { city: string }): string;
}

const ALL_CHOICES: ToolClient["choices"] = ["auto", "required", "named"];

export interface ToolTold {
  /** Of the first answer. */
  calls: { name: string; input: unknown }[];
  /** Of the last one. */
  text: string;
}

export interface ToolClient {
  name: string;
  /** What of `ToolAsked.choice` it can send. */
  choices: readonly ToolAsked["choice"][];
  ask(asked: ToolAsked): Promise<ToolTold>;
}

interface Address {
  baseURL: string;
  apiKey: string;
  fetch?: Fetch;
}

export function toolClients(serverUrl: string, fetch?: Fetch): ToolClient[] {
  const at = { baseURL: `${serverUrl}/v1`, apiKey: "any", ...(fetch && { fetch }) };
  const compatible = createOpenAICompatible({ name: "runnel", ...at });
  const official = createOpenAI(at);
  const clients: Omit<ToolClient, "choices">[] = [
    { name: "openai, chat", ask: (asked) => openaiChat(at, asked) },
    { name: "openai, responses", ask: (asked) => openaiResponses(at, asked) },
    { name: "ai + @ai-sdk/openai-compatible", ask: (asked) => aiSdk(compatible(asked.model), asked) },
    { name: "ai + @ai-sdk/openai, responses", ask: (asked) => aiSdk(official(asked.model), asked) },
    { name: "ai + @ai-sdk/openai, chat", ask: (asked) => aiSdk(official.chat(asked.model), asked) },
    { name: "@langchain/openai", ask: (asked) => langchain(at, asked, false) },
  ];
  return [
    ...clients.map((client) => ({ ...client, choices: ALL_CHOICES })),
    // LangChain 1.6.0 drops a choice that is a word from the request of a response.
    { name: "@langchain/openai, responses", choices: ["auto", "named"], ask: (asked) => langchain(at, asked, true) },
  ];
}

async function openaiChat(
  at: Address,
  { model, prompt, stream, choice, maxTokens, run }: ToolAsked,
): Promise<ToolTold> {
  const client = new OpenAI({ ...at, maxRetries: 0 });
  const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: "user", content: prompt }];
  const tools = [
    { type: "function" as const, function: { name: TOOL_NAME, description: DESCRIPTION, parameters: PARAMETERS } },
  ];
  const body = { model, tools, ...(maxTokens !== undefined && { max_tokens: maxTokens }) };
  const named = { type: "function" as const, function: { name: TOOL_NAME } };
  const ask = async (tool_choice: OpenAI.ChatCompletionToolChoiceOption) => {
    const asked = { ...body, messages, tool_choice };
    const completion = stream
      ? await client.chat.completions.stream(asked).finalChatCompletion()
      : await client.chat.completions.create(asked);
    return completion.choices[0]!.message;
  };
  const first = await ask(choice === "named" ? named : choice);
  const calls = (first.tool_calls ?? []).flatMap((call) => (call.type === "function" ? [call] : []));
  messages.push(first);
  for (const { id, function: made } of calls) {
    messages.push({ role: "tool", tool_call_id: id, content: run(JSON.parse(made.arguments)) });
  }
  const last = calls.length === 0 ? first : await ask("auto");
  return {
    calls: calls.map(({ function: made }) => ({ name: made.name, input: JSON.parse(made.arguments) })),
    text: last.content ?? "",
  };
}

async function openaiResponses(
  at: Address,
  { model, prompt, stream, choice, maxTokens, run }: ToolAsked,
): Promise<ToolTold> {
  const client = new OpenAI({ ...at, maxRetries: 0 });
  const tools = [
    { type: "function" as const, name: TOOL_NAME, description: DESCRIPTION, parameters: PARAMETERS, strict: true },
  ];
  const body = { model, tools, ...(maxTokens !== undefined && { max_output_tokens: maxTokens }) };
  const named = { type: "function" as const, name: TOOL_NAME };
  const ask = (fields: {
    input: string | OpenAI.Responses.ResponseInputItem[];
    tool_choice: "auto" | "required" | typeof named;
    previous_response_id?: string;
  }) =>
    stream
      ? client.responses.stream({ ...body, ...fields }).finalResponse()
      : client.responses.create({ ...body, ...fields });
  const first = await ask({ input: prompt, tool_choice: choice === "named" ? named : choice });
  const calls = first.output.flatMap((item) => (item.type === "function_call" ? [item] : []));
  const results = calls.map(({ call_id, arguments: json }) => ({
    type: "function_call_output" as const,
    call_id,
    output: run(JSON.parse(json)),
  }));
  const last =
    calls.length === 0 ? first : await ask({ input: results, tool_choice: "auto", previous_response_id: first.id });
  return {
    calls: calls.map(({ name, arguments: json }) => ({ name, input: JSON.parse(json) })),
    text: last.output_text,
  };
}

async function aiSdk(model: LanguageModel, { prompt, stream, choice, maxTokens, run }: ToolAsked): Promise<ToolTold> {
  const weather = aiTool({ description: DESCRIPTION, inputSchema: citySchema, execute: async (input) => run(input) });
  const options = {
    model,
    prompt,
    tools: { weather },
    maxRetries: 0,
    stopWhen: isStepCount(2),
    prepareStep: ({ stepNumber }: { stepNumber: number }) => ({ toolChoice: choiceOf(stepNumber) }),
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
  };
  const choiceOf = (step: number) => {
    if (step > 0) return "auto" as const;
    return choice === "named" ? { type: "tool" as const, toolName: TOOL_NAME as "weather" } : choice;
  };
  if (!stream) {
    const { steps, text } = await generateText(options);
    return { calls: steps[0]!.toolCalls.map(({ toolName, input }) => ({ name: toolName, input })), text };
  }
  const failures: unknown[] = [];
  const result = streamText({ ...options, onError: ({ error }) => void failures.push(error) });
  await result.consumeStream();
  if (failures.length > 0) throw failures[0];
  const steps = await result.steps;
  return {
    calls: steps[0]!.toolCalls.map(({ toolName, input }) => ({ name: toolName, input })),
    text: await result.text,
  };
}

async function langchain(
  { baseURL, apiKey, fetch }: Address,
  { model, prompt, stream, choice, maxTokens, run }: ToolAsked,
  useResponsesApi: boolean,
): Promise<ToolTold> {
  const chat = new ChatOpenAI({
    model,
    apiKey,
    useResponsesApi,
    maxRetries: 0,
    configuration: { baseURL, ...(fetch && { fetch }) },
    ...(maxTokens !== undefined && { maxTokens }),
  });
  const weather = langchainTool((input: { city: string }) => run(input), {
    name: TOOL_NAME,
    description: DESCRIPTION,
    schema: citySchema,
  });
  const ask = async (messages: Parameters<ChatOpenAI["invoke"]>[0], tool_choice: string) => {
    const bound = chat.bindTools([weather], { tool_choice });
    if (!stream) return bound.invoke(messages);
    let whole: Awaited<ReturnType<typeof bound.invoke>> | null = null;
    for await (const chunk of await bound.stream(messages)) whole = whole === null ? chunk : whole.concat(chunk);
    return whole!;
  };
  const first = await ask([["human", prompt]], choice === "named" ? TOOL_NAME : choice);
  const calls = first.tool_calls ?? [];
  const results = calls.map(
    ({ id, args }) => new ToolMessage({ tool_call_id: id!, content: run(args as { city: string }) }),
  );
  const last = calls.length === 0 ? first : await ask([["human", prompt] as never, first, ...results], "auto");
  return { calls: calls.map(({ name, args }) => ({ name, input: args })), text: last.text };
}
