/**
 * `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`, one for each call: Hermes, Qwen 2.5 and 3, and what models
 * are asked for whose template takes no tools. Other models put something else than JSON between the same tags.
 */
import type { ToolFormat } from "./tool-format.ts";

/** GLM's keys and values; Qwen3-Coder's and Seed's functions and parameters. */
const OTHER_INSIDE = ["<arg_key>", "<function="];

export const HERMES: ToolFormat = {
  name: "hermes",
  matches: (source) => source.includes("<tool_call>") && !OTHER_INSIDE.some((text) => source.includes(text)),
  open: "<tool_call>",
  mayBeBare: false,
  isList: false,
  before: "\n",
  after: "\n",
  close: "</tool_call>",
  separator: "\n",
  argumentsKey: "arguments",
};
