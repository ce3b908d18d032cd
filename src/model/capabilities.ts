/**
 * What a model was made for, as its chat template tells: a template that never mentions tools drops them, and the model
 * would not know of them.
 */
import type { ModelCapability } from "../protocol/model-info.ts";
import type { GgufHeader } from "./gguf.ts";

const MENTIONS: readonly [ModelCapability, RegExp][] = [
  ["tools", /\btools\b/],
  ["thinking", /<think>|\benable_thinking\b|\breasoning_content\b/],
];

export function capabilitiesOf({ metadata }: Pick<GgufHeader, "metadata">): ModelCapability[] {
  const template = metadata.get("tokenizer.chat_template");
  if (typeof template !== "string") return ["completion"];
  return ["completion", ...MENTIONS.filter(([, pattern]) => pattern.test(template)).map(([capability]) => capability)];
}
