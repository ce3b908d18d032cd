/**
 * Tools of a chat: OpenAI's `tools`, `tool_choice` and `parallel_tool_calls`, and its older `functions` and
 * `function_call`, which mean the same. Only functions: what else OpenAI has (custom tools, hosted ones) is refused by name.
 */

import * as z from "zod";
import { invalidRequest, unsupportedParameter } from "../errors.ts";
import type { Tool, ToolChoice } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { TEXT_CHARS_MAX, TOOL_NAME_CHARS_MAX, TOOLS_MAX } from "../limits.ts";
import type { JsonBounds } from "./json-bounds.ts";
import { checkCount, dotted, quote, validate } from "./validate.ts";

export const toolName = z
  .string()
  .min(1)
  .max(TOOL_NAME_CHARS_MAX)
  .regex(/^[\w.:/-]+$/, "may have letters, digits and _ . : / - only");

const functionSchema = z.object({
  name: toolName,
  description: z.string().max(TEXT_CHARS_MAX).nullish(),
  /** JSON Schema of the arguments. */
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

const toolSchema = z.object({ type: z.literal("function"), function: functionSchema });
const namedSchema = z.object({ type: z.literal("function"), function: z.object({ name: toolName }) });

const MODES = ["none", "auto", "required"] as const;
const choiceSchema = z.union([
  z.enum(MODES),
  namedSchema,
  z.object({
    type: z.literal("allowed_tools"),
    allowed_tools: z.object({ mode: z.enum(["auto", "required"]), tools: z.array(namedSchema).min(1).max(TOOLS_MAX) }),
  }),
]);

const functionChoiceSchema = z.union([z.enum(["none", "auto"]), z.object({ name: toolName })]);

const parallelSchema = z.boolean().nullish();

/** Decoded by hand, one tool after the other; here for documentation. */
export const toolShape = lazily(() => ({
  tools: z.array(toolSchema).min(1).max(TOOLS_MAX).nullish(),
  tool_choice: choiceSchema.nullish(),
  parallel_tool_calls: parallelSchema,
  functions: z.array(functionSchema).min(1).max(TOOLS_MAX).nullish(),
  function_call: functionChoiceSchema.nullish(),
}));

export interface ToolUse {
  /** None where nothing may be called. */
  tools: Tool[];
  toolChoice: ToolChoice;
  parallelToolCalls: boolean;
}

export function decodeToolUse(body: Record<string, unknown>, bounds: JsonBounds): ToolUse {
  const offered = decodeTools(body, bounds);
  const { toolChoice, allowed } = decodeChoice(body, offered);
  const isOffered = toolChoice !== "none";
  const parallel = validate(parallelSchema, body.parallel_tool_calls, ["parallel_tool_calls"]);
  return {
    tools: isOffered ? offered.filter(({ name }) => allowed.has(name)) : [],
    toolChoice,
    parallelToolCalls: parallel ?? true,
  };
}

function decodeTools(body: Record<string, unknown>, bounds: JsonBounds): Tool[] {
  const field = body.functions != null ? "functions" : "tools";
  if (body.tools != null && field === "functions") {
    throw invalidRequest("'functions' is the older name of 'tools': send one of them.", "functions");
  }
  const list = validate(z.array(z.unknown()).min(1).nullish(), body[field], [field]) ?? [];
  checkCount(list, TOOLS_MAX, [field]);
  const tools = list.map((one, index) => decodeTool(one, [field, index], bounds));
  const names = new Set<string>();
  for (const [index, { name }] of tools.entries()) {
    const param = dotted(field === "tools" ? [field, index, "function", "name"] : [field, index, "name"]);
    if (names.has(name)) throw invalidRequest(`'${param}' is ${quote(name)}, as that of a tool before it.`, param);
    names.add(name);
  }
  return tools;
}

function decodeTool(value: unknown, path: readonly PropertyKey[], bounds: JsonBounds): Tool {
  const type: unknown = (value as { type?: unknown } | null)?.type;
  if (path[0] === "tools" && typeof type === "string" && type !== "function") {
    throw unsupportedParameter(dotted([...path, "type"]), ["function"]);
  }
  const made = path[0] === "tools" ? validate(toolSchema, value, path).function : validate(functionSchema, value, path);
  bounds.check(made.parameters, path);
  return {
    name: made.name,
    description: made.description ?? "",
    parameters: made.parameters ?? null,
    strict: made.strict ?? false,
  };
}

function decodeChoice(
  body: Record<string, unknown>,
  tools: readonly Tool[],
): { toolChoice: ToolChoice; allowed: ReadonlySet<string> } {
  const all = new Set(tools.map(({ name }) => name));
  const field = body.function_call != null && body.tool_choice == null ? "function_call" : "tool_choice";
  if (body[field] == null) return { toolChoice: tools.length > 0 ? "auto" : "none", allowed: all };
  const known = (name: string): string => {
    if (all.has(name)) return name;
    throw invalidRequest(`'${field}' names the tool ${quote(name)}, which is not among the tools.`, field);
  };
  if (field === "function_call") {
    const asked = validate(functionChoiceSchema, body[field], [field]);
    const toolChoice = typeof asked === "string" ? asked : { name: known(asked.name) };
    return { toolChoice: withTools(toolChoice, tools, field), allowed: all };
  }
  const allowedTools = (body[field] as { allowed_tools?: { tools?: unknown } }).allowed_tools?.tools;
  checkCount(allowedTools, TOOLS_MAX, [field, "allowed_tools", "tools"]);
  const asked = validate(choiceSchema, body[field], [field]);
  if (typeof asked === "string") return { toolChoice: withTools(asked, tools, field), allowed: all };
  if (asked.type === "function") return { toolChoice: { name: known(asked.function.name) }, allowed: all };
  const { mode, tools: some } = asked.allowed_tools;
  return { toolChoice: mode, allowed: new Set(some.map((one) => known(one.function.name))) };
}

function withTools(choice: ToolChoice, tools: readonly Tool[], field: string): ToolChoice {
  if (choice === "none" || tools.length > 0) return choice;
  throw invalidRequest(`'${field}' is ${quote(choice)}, but there are no tools. Send some, or leave it out.`, field);
}
