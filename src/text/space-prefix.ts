/**
 * Takes the step that puts a space in front of a text out of a tokenizer.json's pipeline. Whether a text begins anew or
 * goes on from earlier text is known to the caller only, so the space is added there. Three steps do it: the Prepend
 * normalizer, the Metaspace pre-tokenizer and ByteLevel with `add_prefix_space`.
 */
import { isObject, type JsonObject } from "./tokenizer-json.ts";
import type { SpacePrefix } from "./vocabulary.ts";

export interface Pipeline {
  normalizer: JsonObject | null;
  preTokenizer: JsonObject | null;
  spacePrefix: SpacePrefix;
}

export function takeSpacePrefix(normalizer: unknown, preTokenizer: unknown): Pipeline {
  let spacePrefix: SpacePrefix = { where: "never", unlessPresent: false };
  const withoutPrefix = (step: JsonObject): JsonObject | null => {
    switch (step.type) {
      case "Prepend":
        if (step.prepend !== "\u2581") return step;
        spacePrefix = { where: "always", unlessPresent: false };
        return null;
      case "Metaspace": {
        const scheme = step.prepend_scheme ?? (step.add_prefix_space === false ? "never" : "always");
        const where = scheme === "first" || scheme === "never" ? scheme : "always";
        if (where !== "never") spacePrefix = { where, unlessPresent: true };
        return { ...step, prepend_scheme: "never" };
      }
      case "ByteLevel":
        if (step.add_prefix_space !== true) return step;
        spacePrefix = { where: "always", unlessPresent: true };
        return { ...step, add_prefix_space: false };
      default:
        return step;
    }
  };
  return {
    normalizer: mapSteps(normalizer, "normalizers", withoutPrefix),
    preTokenizer: mapSteps(preTokenizer, "pretokenizers", withoutPrefix),
    spacePrefix,
  };
}

function mapSteps(
  pipeline: unknown,
  key: "normalizers" | "pretokenizers",
  change: (step: JsonObject) => JsonObject | null,
): JsonObject | null {
  if (!isObject(pipeline)) return null;
  const steps = pipeline[key];
  if (!Array.isArray(steps)) return change(pipeline);
  return { ...pipeline, [key]: steps.map((step) => mapSteps(step, key, change)).filter((step) => step !== null) };
}
