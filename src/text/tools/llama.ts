/**
 * `{"name": …, "parameters": {…}}` as the whole answer, with `<|python_tag|>` before it or not: Llama 3.1 and later. A few
 * calls are parted by semicolons.
 */
import type { ToolFormat } from "./tool-format.ts";

export const LLAMA: ToolFormat = {
  name: "llama",
  matches: (source) => source.includes("<|python_tag|>") || source.includes("Environment: ipython"),
  open: "<|python_tag|>",
  mayBeBare: true,
  isList: false,
  before: "",
  after: "",
  close: "",
  separator: "; ",
  argumentsKey: "parameters",
};
