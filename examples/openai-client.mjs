/** Streams an answer with the `openai` package. */
import OpenAI from "openai";

const { RUNNEL_URL = "http://127.0.0.1:8787", RUNNEL_API_KEY = "none" } = process.env;
const client = new OpenAI({ baseURL: `${RUNNEL_URL}/v1`, apiKey: RUNNEL_API_KEY });
const stream = await client.chat.completions.create({
  model: "runnel-demo",
  stream: true,
  max_tokens: 24,
  messages: [{ role: "user", content: "What is a KV cache?" }],
});
for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? "");
process.stdout.write("\n");
