/** The formats that are read, and which of them a model was taught. */
import { GRANITE } from "./granite.ts";
import { HERMES } from "./hermes.ts";
import { LLAMA } from "./llama.ts";
import { MISTRAL } from "./mistral.ts";
import type { ToolFormat } from "./tool-format.ts";

export const TOOL_FORMATS: readonly ToolFormat[] = [HERMES, LLAMA, MISTRAL, GRANITE];

export interface TaughtFormat {
  format: ToolFormat;
  /**
   * The template tells the model of tools, and renders calls and results. Otherwise `tool-prompt.ts` does: for templates
   * that know nothing of tools, and those of a format that is not read here.
   */
  isTemplates: boolean;
}

export function toolFormatOf(templateSource: string): TaughtFormat {
  const taught = TOOL_FORMATS.find((format) => format.matches(templateSource));
  const isTemplates = taught !== undefined && /\btools\b/.test(templateSource);
  return { format: isTemplates ? taught : HERMES, isTemplates };
}
