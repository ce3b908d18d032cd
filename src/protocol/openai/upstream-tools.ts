/** The part of a request to another server that tools and thoughts have: messages with calls and results, tools, choice. */
import type { ChatMessage, GenerateRequest, Prompt, Tool } from "../generate.ts";

export function chatMessageBody({ role, content, name, toolCalls = [], toolCallId, reasoning }: ChatMessage): object {
  return {
    role,
    content: content === "" && toolCalls.length > 0 ? null : content,
    ...(name !== undefined && { name }),
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map((call) => ({
        id: call.id,
        type: "function",
        function: { name: call.name, arguments: call.arguments },
      })),
    }),
  };
}

/** `reasoning_effort` by its own name: the one variable of a template that OpenAI's API knows, too. */
export function toolBodies(
  { toolChoice, parallelToolCalls }: GenerateRequest,
  { tools = [], templateArguments = {} }: Extract<Prompt, { kind: "chat" }>,
): object {
  const { reasoning_effort, ...variables } = templateArguments;
  return {
    ...(tools.length > 0 && {
      tools: tools.map(toolBody),
      tool_choice: typeof toolChoice === "object" ? { type: "function", function: toolChoice } : toolChoice,
      ...(!parallelToolCalls && { parallel_tool_calls: false }),
    }),
    ...(reasoning_effort !== undefined && { reasoning_effort }),
    ...(Object.keys(variables).length > 0 && { chat_template_kwargs: variables }),
  };
}

function toolBody({ name, description, parameters, strict }: Tool): object {
  return {
    type: "function",
    function: {
      name,
      ...(description !== "" && { description }),
      ...(parameters !== null && { parameters }),
      ...(strict && { strict }),
    },
  };
}
