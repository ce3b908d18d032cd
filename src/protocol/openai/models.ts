/** GET /v1/models and /v1/models/{id}: OpenAI's four fields, vLLM's `max_model_len`, llama.cpp's `meta`. */

/** What the format needs to know of a model. */
export interface ListedModel {
  id: string;
  /** Unix seconds. */
  created: number;
  ownedBy: string;
  contextLength: number;
  description: string | null;
  quantization: string | null;
  numParameters: number | null;
  sizeBytes: number | null;
}

export function modelBody(model: ListedModel) {
  return {
    id: model.id,
    object: "model" as const,
    created: model.created,
    owned_by: model.ownedBy,
    max_model_len: model.contextLength,
    description: model.description,
    meta: { n_params: model.numParameters, size: model.sizeBytes, quantization: model.quantization },
  };
}

export function modelListBody(models: readonly ListedModel[]) {
  return { object: "list" as const, data: models.map(modelBody) };
}
