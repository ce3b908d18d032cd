/** Looking up one model of the list. */
import { modelNotFound, unavailable } from "../protocol/errors.ts";
import { type Caller, mayUse } from "./caller.ts";
import type { ModelInfo, ModelService } from "./model-service.ts";

/** The one that answers requests which name none: the first that the caller may use. @throws ApiError 503 for none */
export async function firstModel(models: ModelService, caller: Caller): Promise<ModelInfo> {
  const model = (await models.models()).find(({ id }) => mayUse(caller, id));
  if (model === undefined) throw unavailable("No model is installed. Add one with `npm run model -- add`.", 60);
  return model;
}

/** @throws ApiError 404 with the known names */
export async function knownModel(models: ModelService, id: string): Promise<ModelInfo> {
  const known = await models.models();
  const model = known.find((one) => one.id === id);
  if (model !== undefined) return model;
  throw modelNotFound(
    id,
    known.map((one) => one.id),
  );
}
