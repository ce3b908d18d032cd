/** Streams an answer with Vercel's AI SDK: `ai` and `@ai-sdk/openai-compatible`. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";

const { RUNNEL_URL = "http://127.0.0.1:8787", RUNNEL_API_KEY = "none" } = process.env;
const runnel = createOpenAICompatible({ name: "runnel", baseURL: `${RUNNEL_URL}/v1`, apiKey: RUNNEL_API_KEY });
const { textStream } = streamText({
  model: runnel("runnel-demo"),
  prompt: "What is a KV cache?",
  maxOutputTokens: 24,
});
for await (const text of textStream) process.stdout.write(text);
process.stdout.write("\n");
