/**
 * Which tier answers for a model: an origin that declares it, else an engine of the edge. The id decides, and an origin's
 * declaration comes first: it is what the operator wrote down, and looking it up costs no I/O.
 */
import type { EventStream, ModelInfo, ModelService } from "../api/model-service.ts";
import { ApiError, invalidRequest, modelNotFound, unavailable } from "../protocol/errors.ts";
import type { GenerateRequest } from "../protocol/generate.ts";
import type { Env } from "./env.ts";
import { eventsFrom } from "./event-bytes.ts";
import { isolateEngine } from "./isolate-engine.ts";
import { FIRST_LANE, laneName } from "./lanes.ts";
import { modelStore } from "./model-store.ts";
import type { OriginModel } from "./origins/origin.ts";
import { isUnavailability, originEvents } from "./origins/origin-events.ts";
import { originPool } from "./origins/origin-pool.ts";
import { toApiError, unwrap } from "./rpc-result.ts";

const NO_MODEL_RETRY_S = 60;

export function edgeModels(env: Env): ModelService {
  return {
    models: () => modelInfos(env),

    async generate(request, routingKey, signal = null) {
      const key = routingKey ?? request.requestId;
      const origin = originPool.find(env, request.model);
      if (origin === null) return byEngine(env, request, key);
      try {
        return { ...(await originEvents(env, origin, request, key, signal)), tier: "origin" };
      } catch (cause) {
        if (origin.fallback === null || !isUnavailability(cause)) throw cause;
        const events = await byEngine(env, { ...request, model: origin.fallback }, key);
        return { ...events, fallbackModel: origin.fallback };
      }
    },

    async embed(request, routingKey) {
      return atEdge(env, request.model, "embeddings", async () =>
        unwrap(await lane(env, routingKey ?? request.requestId).embed(request)),
      );
    },

    async tokenize(request) {
      return atEdge(env, request.model, "token ids", async () =>
        unwrap(await env.ENGINE_LANE.getByName(FIRST_LANE).tokenize(request)),
      );
    },

    async detokenize(request) {
      return atEdge(env, request.model, "token ids", async () =>
        unwrap(await env.ENGINE_LANE.getByName(FIRST_LANE).detokenize(request)),
      );
    },

    async ready() {
      const requestId = crypto.randomUUID();
      try {
        const [model] = await modelInfos(env);
        if (model === undefined) throw unavailable("No model is installed.", NO_MODEL_RETRY_S);
        const origin = originPool.find(env, model.id);
        if (origin !== null) return originReport(origin);
        const report = unwrap(await env.ENGINE_LANE.getByName(FIRST_LANE).warm(requestId, model.id));
        return { ready: true, detail: { ...report } };
      } catch (cause) {
        const error = toApiError(requestId, cause);
        const retryable = error.retryAfterS !== null && error.retryAfterS < NO_MODEL_RETRY_S;
        return { ready: false, detail: { message: error.message, code: error.code, retryable } };
      }
    },
  };
}

/** @throws ApiError 404 with the names of both tiers */
export async function assertModelExists(env: Env, id: string): Promise<void> {
  if (originPool.find(env, id) === null) await withAllNames(env, id, () => modelStore.find(env, id));
}

async function byEngine(env: Env, request: GenerateRequest, key: string): Promise<EventStream> {
  return withAllNames(env, request.model, async () => {
    return { ...eventsFrom(unwrap(await lane(env, key).generate(request))), tier: "edge" };
  });
}

const lane = (env: Env, key: string) => env.ENGINE_LANE.getByName(laneName(key));

/** @throws ApiError 400 for a model whose origin would have to be asked */
async function atEdge<T>(env: Env, model: string, what: string, run: () => Promise<T>): Promise<T> {
  if (originPool.find(env, model) === null) return withAllNames(env, model, run);
  throw invalidRequest(
    `The model '${model}' is served by an origin, which is not asked for ${what} here. Name a model of this edge, or ask ` +
      "the origin itself.",
    "model",
    "unsupported_model",
  );
}

async function withAllNames<T>(env: Env, id: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (!(cause instanceof ApiError) || cause.code !== "model_not_found") throw cause;
    const known = await modelInfos(env);
    throw modelNotFound(
      id,
      known.map((model) => model.id),
    );
  }
}

/** The default model first, then the edge's own, then those of the origins. */
async function modelInfos(env: Env): Promise<ModelInfo[]> {
  const atOrigins = originPool.models(env).map(originInfo);
  const names = new Set(atOrigins.map(({ id }) => id));
  const atEdge = (await edgeInfos(env)).filter(({ id }) => !names.has(id));
  const isDefault = ({ id }: ModelInfo) => id === env.DEFAULT_MODEL;
  return [...atEdge, ...atOrigins].sort((a, b) => Number(isDefault(b)) - Number(isDefault(a)));
}

/** As the manifests say, with the context that memory allows where the model is loaded in this isolate. */
async function edgeInfos(env: Env): Promise<ModelInfo[]> {
  const models = await modelStore.list(env);
  return models.map(({ key, info }) => {
    const loadedLength = isolateEngine.contextLengthOf(key);
    if (loadedLength === null) return info;
    return { ...info, contextLength: loadedLength, residency: "cpu" as const };
  });
}

function originInfo({ id, places, contextLength, description }: OriginModel): ModelInfo {
  return {
    id,
    created: 0,
    ownedBy: places.map(({ origin }) => origin.name).join(", "),
    contextLength,
    description,
    parent: null,
    architecture: null,
    quantization: null,
    numParameters: null,
    sizeBytes: null,
    sha256: null,
    license: null,
    capabilities: ["completion"],
    residency: null,
  };
}

/** As far as this isolate knows: no origin is asked for it. */
function originReport({ id, places }: OriginModel): { ready: boolean; detail: Record<string, unknown> } {
  const isReady = places.some(({ origin }) => origin.breaker.isClosed);
  const engine = `origin ${places.map(({ origin }) => origin.name).join(", ")}`;
  if (isReady) return { ready: true, detail: { model: id, engine } };
  const message = `No origin of the model '${id}' is available right now.`;
  return { ready: false, detail: { message, code: "model_unavailable", retryable: true } };
}
