/** Streams an answer with LangChain: `@langchain/openai`. */
import { ChatOpenAI } from "@langchain/openai";

const { RUNNEL_URL = "http://127.0.0.1:8787", RUNNEL_API_KEY = "none" } = process.env;
const model = new ChatOpenAI({
  model: "runnel-demo",
  apiKey: RUNNEL_API_KEY,
  maxTokens: 24,
  configuration: { baseURL: `${RUNNEL_URL}/v1` },
});
for await (const { text } of await model.stream("What is a KV cache?")) process.stdout.write(text);
process.stdout.write("\n");
