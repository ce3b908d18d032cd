/**
 * Tools of a response: as those of a chat, but without the object around a function's fields. What OpenAI runs by itself
 * (web search, code, files) is refused by name.
 */
import * as z from "zod";
import { invalidRequest, unsupportedParameter } from "../errors.ts";
import type { Tool, ToolChoice } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { TEXT_CHARS_MAX, TOOLS_MAX } from "../limits.ts";
import type { JsonBounds } from "../openai/json-bounds.ts";
import { type ToolUse, toolName } from "../openai/tool-fields.ts";
import { checkCount, dotted, quote, validate } from "../openai/validate.ts";

const schemas = lazily(() => {
  const named = z.object({ type: z.literal("function"), name: toolName });
  return {
    list: z.array(z.unknown()).nullish(),
    tool: z.object({
      type: z.literal("function"),
      name: toolName,
      description: z.string().max(TEXT_CHARS_MAX).nullish(),
      /** JSON Schema of the arguments. */
      parameters: z.record(z.string(), z.unknown()).nullish(),
      strict: z.boolean().nullish(),
    }),
    choice: z.union([
      z.enum(["none", "auto", "required"]),
      named,
      z.object({
        type: z.literal("allowed_tools"),
        mode: z.enum(["auto", "required"]),
        tools: z.array(named).min(1).max(TOOLS_MAX),
      }),
    ]),
    parallel: z.boolean().nullish(),
  };
});

/** Decoded by hand, one tool after the other; here for documentation. */
export const responseToolShape = lazily(() => ({
  tools: z.array(schemas().tool).max(TOOLS_MAX).nullish(),
  tool_choice: schemas().choice.nullish(),
  parallel_tool_calls: schemas().parallel,
}));

export interface ResponseToolUse extends ToolUse {
  /** As the response repeats them. */
  echo: { tools: object[]; tool_choice: unknown; parallel_tool_calls: boolean };
}

export function decodeResponseTools(body: Record<string, unknown>, bounds: JsonBounds): ResponseToolUse {
  const offered = decodeTools(body.tools, bounds);
  const { toolChoice, allowed, echo } = decodeChoice(body.tool_choice, offered);
  const parallel = validate(schemas().parallel, body.parallel_tool_calls, ["parallel_tool_calls"]);
  return {
    tools: toolChoice === "none" ? [] : offered.filter(({ name }) => allowed.has(name)),
    toolChoice,
    parallelToolCalls: parallel ?? true,
    echo: { tools: offered.map(toolBody), tool_choice: echo, parallel_tool_calls: parallel ?? true },
  };
}

function decodeTools(value: unknown, bounds: JsonBounds): Tool[] {
  const list = validate(schemas().list, value, ["tools"]) ?? [];
  checkCount(list, TOOLS_MAX, ["tools"]);
  const names = new Set<string>();
  return list.map((one, index) => {
    const path = ["tools", index];
    const type: unknown = (one as { type?: unknown } | null)?.type;
    if (typeof type === "string" && type !== "function") {
      throw unsupportedParameter(dotted([...path, "type"]), ["function"]);
    }
    const { name, description, parameters, strict } = validate(schemas().tool, one, path);
    bounds.check(parameters, [...path, "parameters"]);
    const param = dotted([...path, "name"]);
    if (names.has(name)) throw invalidRequest(`'${param}' is ${quote(name)}, as that of a tool before it.`, param);
    names.add(name);
    return { name, description: description ?? "", parameters: parameters ?? null, strict: strict ?? false };
  });
}

function decodeChoice(
  value: unknown,
  tools: readonly Tool[],
): { toolChoice: ToolChoice; allowed: ReadonlySet<string>; echo: unknown } {
  const all = new Set(tools.map(({ name }) => name));
  if (value == null) return { toolChoice: tools.length > 0 ? "auto" : "none", allowed: all, echo: "auto" };
  checkCount((value as { tools?: unknown }).tools, TOOLS_MAX, ["tool_choice", "tools"]);
  const asked = validate(schemas().choice, value, ["tool_choice"]);
  const known = (name: string): string => {
    if (all.has(name)) return name;
    throw invalidRequest(`'tool_choice' names the tool ${quote(name)}, which is not among the tools.`, "tool_choice");
  };
  if (typeof asked !== "string") {
    if (asked.type === "function") return { toolChoice: { name: known(asked.name) }, allowed: all, echo: asked };
    return { toolChoice: asked.mode, allowed: new Set(asked.tools.map(({ name }) => known(name))), echo: asked };
  }
  if (asked === "required" && tools.length === 0) {
    throw invalidRequest(
      `'tool_choice' is ${quote(asked)}, but there are no tools. Send some, or leave it out.`,
      "tool_choice",
    );
  }
  return { toolChoice: tools.length === 0 ? "none" : asked, allowed: all, echo: asked };
}

function toolBody({ name, description, parameters, strict }: Tool): object {
  return { type: "function", name, description, parameters, strict };
}
