/** `attention.sliding_window` → which layers see how far, and how those rotate. */
import type { WindowRule } from "./architectures.ts";
import type { ModelKeys } from "./metadata.ts";
import type { RopeSpec, SlidingWindow } from "./model-spec.ts";

export function readSlidingWindow(
  keys: ModelKeys,
  rule: WindowRule,
  model: { contextLength: number; numLayers: number; rope: RopeSpec | null },
): SlidingWindow | null {
  const numTokens = keys.integer("attention.sliding_window", 0) ?? 0;
  if (rule.layers === "none" || numTokens === 0) return null;
  if (rule.layers === "all") {
    // A window as long as the context hides nothing.
    if (numTokens >= model.contextLength) return null;
    return { numTokens, isLocal: new Array<boolean>(model.numLayers).fill(true), rope: model.rope };
  }
  const period = keys.integer("attention.sliding_window_pattern", 1) ?? rule.period;
  const isLocal = Array.from({ length: model.numLayers }, (_, layer) => layer % period < period - 1);
  return { numTokens, isLocal, rope: model.rope === null ? null : localRope(keys, rule.ropeBase, model.rope) };
}

/** Scaling stretches the layers that see far; local ones keep the positions they were trained with. */
function localRope(keys: ModelKeys, baseDefault: number, rope: RopeSpec): RopeSpec {
  const base = keys.positive("rope.freq_base_swa", baseDefault);
  return { ...rope, base, linearScale: 1, freqFactors: null, longFactors: null };
}
