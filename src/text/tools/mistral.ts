/** `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`: Mistral up to 2024. Later models write names outside of the JSON. */
import type { ToolFormat } from "./tool-format.ts";

export const MISTRAL: ToolFormat = {
  name: "mistral",
  matches: (source) => source.includes("[TOOL_CALLS]") && !source.includes("[ARGS]"),
  open: "[TOOL_CALLS]",
  mayBeBare: false,
  isList: true,
  before: "",
  after: "",
  close: "",
  separator: ", ",
  argumentsKey: "arguments",
};
