/** GET /v1/models and /v1/models/{id}: OpenAI's four fields, vLLM's `max_model_len` and `parent`, llama.cpp's `meta`. */
import type { ModelInfo } from "../model-info.ts";

export function modelBody(model: ModelInfo) {
  return {
    id: model.id,
    object: "model" as const,
    created: model.created,
    owned_by: model.ownedBy,
    parent: model.parent,
    max_model_len: model.contextLength,
    description: model.description,
    capabilities: model.capabilities,
    meta: {
      n_params: model.numParameters,
      size: model.sizeBytes,
      family: model.architecture,
      quantization: model.quantization,
      digest: model.sha256,
      license: model.license,
    },
  };
}

export function modelListBody(models: readonly ModelInfo[]) {
  return { object: "list" as const, data: models.map(modelBody) };
}
