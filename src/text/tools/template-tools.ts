/** Tools, calls and results as chat templates know them: OpenAI's shapes, with the arguments of a call as an object. */
import type { Tool } from "../../protocol/generate.ts";
import type { ParsedMessage } from "../chat.ts";
import type { TemplateDialect } from "../template-dialect.ts";

export function templateTool({ name, description, parameters }: Tool) {
  return {
    type: "function",
    function: { name, description, parameters: parameters ?? { type: "object", properties: {} } },
  };
}

export function templateMessage(message: ParsedMessage, dialect: TemplateDialect): object {
  const { role, content, name, toolCalls, toolCallId, reasoning } = message;
  const id = dialect.hasShortCallIds ? shortCallId : (long: string) => long;
  return {
    role,
    content: content === "" && toolCalls.length > 0 && dialect.hasNullContent ? null : content,
    ...(name !== undefined && { name }),
    ...(reasoning !== undefined && { reasoning_content: reasoning, reasoning }),
    ...(toolCallId !== undefined && { tool_call_id: id(toolCallId) }),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map((call) => ({
        id: id(call.id),
        type: "function",
        function: { name: call.name, arguments: call.arguments },
      })),
    }),
  };
}

const SHORT_ID_CHARS = 9;

/** The last letters and digits, which differ where ids are random; filled up where there are too few. */
function shortCallId(id: string): string {
  return id
    .replace(/[^0-9A-Za-z]/g, "")
    .slice(-SHORT_ID_CHARS)
    .padStart(SHORT_ID_CHARS, "0");
}
