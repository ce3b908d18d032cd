/**
 * Tools for chat templates that know nothing of them: the Hermes format, asked for in the system message, with calls and
 * results written into ordinary messages. vLLM and llama.cpp do as much for unknown models.
 */
import type { Tool } from "../../protocol/generate.ts";
import type { ParsedMessage } from "../chat.ts";
import { HERMES } from "./hermes.ts";
import { templateTool } from "./template-tools.ts";

const RESULT_OPEN = "<tool_response>\n";
const RESULT_CLOSE = "\n</tool_response>";

export function toolPrompt(tools: readonly Tool[]): string {
  const list = tools.map((tool) => JSON.stringify(templateTool(tool))).join("\n");
  return (
    "# Tools\n\nYou may call the functions below. To call one, write a JSON object with its name and its arguments " +
    `between ${HERMES.open} and ${HERMES.close}, once for each call:\n` +
    `${HERMES.open}\n{"name": "the function's name", "arguments": {"its": "arguments"}}\n${HERMES.close}\n\n` +
    `The results come between <tool_response> tags. The functions, with JSON Schemas of their arguments:\n` +
    `<tools>\n${list}\n</tools>`
  );
}

/** The conversation in roles and words that every template knows. */
export function withoutToolRoles(messages: readonly ParsedMessage[]): ParsedMessage[] {
  const plain: ParsedMessage[] = [];
  let isResult = false;
  for (const { toolCalls, toolCallId: _, ...message } of messages) {
    const last = plain.at(-1);
    if (message.role === "tool") {
      const result = `${RESULT_OPEN}${message.content}${RESULT_CLOSE}`;
      // Results of one turn are one message: many templates want roles to alternate.
      if (isResult && last !== undefined) last.content += `\n${result}`;
      else plain.push({ ...message, role: "user", content: result, toolCalls: [] });
      isResult = true;
      continue;
    }
    isResult = false;
    const calls = toolCalls.map(
      ({ name, arguments: value }) =>
        `${HERMES.open}\n{"name": ${JSON.stringify(name)}, "arguments": ${JSON.stringify(value)}}\n${HERMES.close}`,
    );
    const content = [message.content, ...calls].filter((text) => text !== "").join("\n");
    plain.push({ ...message, content, toolCalls: [] });
  }
  return plain;
}

/** @param where the role whose first message tells of the tools, where there is one */
export function withToolPrompt(
  messages: readonly ParsedMessage[],
  tools: readonly Tool[],
  where: "system" | "user",
): ParsedMessage[] {
  const prompt = toolPrompt(tools);
  if (where === "system") {
    const [first, ...rest] = messages;
    if (first?.role !== "system") return [{ role: "system", content: prompt, toolCalls: [] }, ...messages];
    return [{ ...first, content: `${first.content}\n\n${prompt}` }, ...rest];
  }
  const at = messages.findIndex(({ role }) => role === "user");
  if (at < 0) return [{ role: "user", content: prompt, toolCalls: [] }, ...messages];
  return messages.map((message, i) =>
    i === at ? { ...message, content: `${prompt}\n\n${message.content}` } : message,
  );
}
