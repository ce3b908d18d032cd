/** `<|tool_call|>[{"name": …, "arguments": {…}}, …]`: Granite 3. */
import type { ToolFormat } from "./tool-format.ts";

export const GRANITE: ToolFormat = {
  name: "granite",
  matches: (source) => source.includes("<|tool_call|>") && source.includes("available_tools"),
  open: "<|tool_call|>",
  mayBeBare: false,
  isList: true,
  before: "",
  after: "",
  close: "",
  separator: ", ",
  argumentsKey: "arguments",
};
