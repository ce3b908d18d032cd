/** The clients of `chat-clients.ts` where they want an object: each sends the schema and reads the answer in its own way. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, type LanguageModel, Output, streamText } from "ai";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import * as z from "zod";
import type { Fetch } from "./chat-clients.ts";

/** Every answer that it describes is short, so that none is cut. */
export const reportSchema = z.object({
  kind: z.enum(["sun", "rain", "snow"]),
  degrees: z.int().min(-50).max(50),
  isWindy: z.boolean(),
  words: z.array(z.string().max(12)).max(3),
});

export type Report = z.infer<typeof reportSchema>;

export interface StructuredAsked {
  model: string;
  prompt: string;
  temperature: number;
}

export interface StructuredClient {
  name: string;
  ask(asked: StructuredAsked): Promise<unknown>;
}

interface Address {
  baseURL: string;
  apiKey: string;
  fetch?: Fetch;
}

const NAME = "report";

export function structuredClients(serverUrl: string, fetch?: Fetch): StructuredClient[] {
  const at = { baseURL: `${serverUrl}/v1`, apiKey: "any", ...(fetch && { fetch }) };
  const compatible = createOpenAICompatible({ name: "runnel", supportsStructuredOutputs: true, ...at });
  const official = createOpenAI(at);
  return [
    { name: "openai, chat.completions.parse", ask: (asked) => openaiChat(at, asked) },
    { name: "openai, chat.completions.stream", ask: (asked) => openaiChatStream(at, asked) },
    { name: "openai, responses.parse", ask: (asked) => openaiResponses(at, asked) },
    ...aiSdk("ai + @ai-sdk/openai-compatible", (model) => compatible(model)),
    ...aiSdk("ai + @ai-sdk/openai, responses", (model) => official(model)),
    ...aiSdk("ai + @ai-sdk/openai, chat", (model) => official.chat(model)),
    ...(["jsonSchema", "functionCalling"] as const).map((method) => ({
      name: `@langchain/openai, ${method}`,
      ask: (asked: StructuredAsked) => langchain(at, asked, method, false),
    })),
    { name: "@langchain/openai, responses", ask: (asked) => langchain(at, asked, "jsonSchema", true) },
  ];
}

async function openaiChat(at: Address, { model, prompt, temperature }: StructuredAsked): Promise<unknown> {
  const { choices } = await new OpenAI({ ...at, maxRetries: 0 }).chat.completions.parse({
    model,
    temperature,
    messages: [{ role: "user", content: prompt }],
    response_format: zodResponseFormat(reportSchema, NAME),
  });
  return choices[0]!.message.parsed;
}

async function openaiChatStream(at: Address, { model, prompt, temperature }: StructuredAsked): Promise<unknown> {
  const stream = new OpenAI({ ...at, maxRetries: 0 }).chat.completions.stream({
    model,
    temperature,
    messages: [{ role: "user", content: prompt }],
    response_format: zodResponseFormat(reportSchema, NAME),
  });
  return (await stream.finalChatCompletion()).choices[0]!.message.parsed;
}

async function openaiResponses(at: Address, { model, prompt, temperature }: StructuredAsked): Promise<unknown> {
  const response = await new OpenAI({ ...at, maxRetries: 0 }).responses.parse({
    model,
    temperature,
    input: prompt,
    text: { format: zodTextFormat(reportSchema, NAME) },
  });
  return response.output_parsed;
}

function aiSdk(name: string, modelOf: (model: string) => LanguageModel): StructuredClient[] {
  const options = ({ model, prompt, temperature }: StructuredAsked) => ({
    model: modelOf(model),
    prompt,
    temperature,
    maxRetries: 0,
    output: Output.object({ schema: reportSchema }),
  });
  return [
    { name: `${name}, whole`, ask: async (asked) => (await generateText(options(asked))).output },
    { name: `${name}, streamed`, ask: async (asked) => streamText(options(asked)).output },
  ];
}

async function langchain(
  { baseURL, apiKey, fetch }: Address,
  { model, prompt, temperature }: StructuredAsked,
  method: "jsonSchema" | "functionCalling",
  useResponsesApi: boolean,
): Promise<unknown> {
  const chat = new ChatOpenAI({
    model,
    apiKey,
    temperature,
    useResponsesApi,
    maxRetries: 0,
    configuration: { baseURL, ...(fetch && { fetch }) },
  });
  return chat.withStructuredOutput(reportSchema, { name: NAME, method, strict: true }).invoke(prompt);
}
