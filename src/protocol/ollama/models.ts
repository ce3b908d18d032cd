/**
 * Models as Ollama lists and shows them. A name without a tag gets `:latest`, as Ollama's names have one; requests may
 * leave it out. What is not known is "" or 0, since Ollama's clients take every field for granted.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import { lazily } from "../lazily.ts";
import { MODEL_NAME_CHARS_MAX } from "../limits.ts";
import type { ModelInfo } from "../model-info.ts";
import { validate, validateObject } from "../openai/validate.ts";

export const LATEST_TAG = ":latest";

/** Of nobody here: a model stays loaded as long as its host has room. Ollama says so with a date far away, too. */
const NEVER = "9999-12-31T23:59:59Z";

export function taggedName(id: string): string {
  const lastPart = id.slice(id.lastIndexOf("/") + 1);
  return lastPart.includes(":") ? id : id + LATEST_TAG;
}

export function tagsBody(models: readonly ModelInfo[]) {
  return { models: models.map((model) => ({ ...identity(model), modified_at: dateOf(model.created) })) };
}

/** Those whose weights lie ready. */
export function runningBody(models: readonly ModelInfo[]) {
  return {
    models: models
      .filter(({ residency }) => residency !== null)
      .map((model) => ({
        ...identity(model),
        expires_at: NEVER,
        size_vram: model.residency === "gpu" ? (model.sizeBytes ?? 0) : 0,
        context_length: model.contextLength ?? 0,
      })),
  };
}

export function showBody(model: ModelInfo) {
  const { architecture, contextLength, numParameters, description, license } = model;
  return {
    ...(license !== null && { license }),
    modelfile: `# runnel serves this model; it was not made from a Modelfile.\nFROM ${taggedName(model.id)}\n`,
    parameters: "",
    template: "",
    details: detailsOf(model),
    model_info: {
      ...(architecture !== null && { "general.architecture": architecture }),
      ...(description !== null && { "general.name": description }),
      ...(numParameters !== null && { "general.parameter_count": numParameters }),
      ...(architecture !== null && contextLength !== null && { [`${architecture}.context_length`]: contextLength }),
    },
    capabilities: model.capabilities,
    modified_at: dateOf(model.created),
  };
}

export const showSchema = lazily(() => {
  const name = z.string().min(1).max(MODEL_NAME_CHARS_MAX).nullish();
  // Older clients say `name`.
  return z.object({ model: name, name });
});

/** @returns the model that POST /api/show asks for */
export function decodeShow(body: unknown): string {
  const { model, name } = validate(showSchema(), validateObject(body));
  const asked = model ?? name;
  if (asked == null) throw invalidRequest("'model' is required: must be a string.", "model");
  return asked;
}

function identity(model: ModelInfo) {
  const name = taggedName(model.id);
  return { name, model: name, size: model.sizeBytes ?? 0, digest: model.sha256 ?? "", details: detailsOf(model) };
}

function detailsOf({ parent, architecture, numParameters, quantization }: ModelInfo) {
  return {
    parent_model: parent ?? "",
    format: "gguf",
    family: architecture ?? "",
    families: architecture === null ? [] : [architecture],
    parameter_size: numParameters === null ? "" : sizeInWords(numParameters),
    quantization_level: quantization ?? "",
  };
}

/** "2.4M", "7.6B" */
function sizeInWords(count: number): string {
  const units: [number, string][] = [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "K"],
  ];
  const [size, unit] = units.find(([size]) => count >= size) ?? [1, ""];
  return `${(count / size).toFixed(unit === "" ? 0 : 1)}${unit}`;
}

function dateOf(createdS: number): string {
  return new Date(createdS * 1000).toISOString();
}
