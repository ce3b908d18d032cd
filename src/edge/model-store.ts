/**
 * The models this Worker can serve: the demo among the static assets, and whatever lies in the R2 bucket. A model is
 * listed by its manifest alone; its weights are opened only when somebody asks for an answer.
 *
 * The list is read again after a few seconds, and at once for a name that is not in it, so that `model add` and
 * `model remove` need no restart. A manifest that cannot be read is logged and left out: one broken file must not take
 * the other models down. What is kept between requests is plain data.
 */
import type { ModelInfo } from "../api/model-service.ts";
import type { ByteSource } from "../model/byte-source.ts";
import {
  idOfManifestKey,
  MANIFEST_BYTES_MAX,
  MODELS_PREFIX,
  type ModelManifest,
  modelFileKey,
  parseManifest,
} from "../model/catalog.ts";
import { fetchSource } from "../model/source-fetch.ts";
import { r2Source } from "../model/source-r2.ts";
import { modelNotFound } from "../protocol/errors.ts";
import type { Env } from "./env.ts";

/** Reading the list costs an R2 operation for each model; a few seconds hide a burst and no person. */
const LIST_KEPT_MS = 5_000;
/** A name that is not in the list may be asked for again and again; so often the bucket is really looked into. */
const MISS_KEPT_MS = 500;

const EMBEDDED_MANIFESTS = [`${MODELS_PREFIX}demo.json`];
/** The static assets answer on any host name. */
const ASSETS_ORIGIN = "https://assets.local";

export interface StoredModel {
  /** Names these very bytes: a model that is replaced under the same name has another key. */
  key: string;
  info: ModelInfo;
  /** @param env of the caller: I/O belongs to who starts it */
  open(env: Env): ByteSource;
}

export class ModelStore {
  #models: StoredModel[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;

  /** The default model first. */
  async list(env: Env): Promise<StoredModel[]> {
    if (Date.now() - this.#readAtMs > LIST_KEPT_MS) await this.#read(env);
    return this.#models;
  }

  /** @throws ApiError 404 with the known names */
  async find(env: Env, id: string): Promise<StoredModel> {
    const isId = (model: StoredModel) => model.info.id === id;
    const known = (await this.list(env)).find(isId);
    if (known !== undefined) return known;
    if (Date.now() - this.#readAtMs > MISS_KEPT_MS) await this.#read(env);
    const found = this.#models.find(isId);
    if (found !== undefined) return found;
    throw modelNotFound(
      id,
      this.#models.map((model) => model.info.id),
    );
  }

  async #read(env: Env): Promise<void> {
    const embedded = await Promise.all(EMBEDDED_MANIFESTS.map((path) => embeddedModel(env, path)));
    const added = await addedModels(env);
    const byId = new Map<string, StoredModel>();
    for (const model of [...embedded, ...(added ?? this.#models)]) {
      if (model !== null && !byId.has(model.info.id)) byId.set(model.info.id, model);
    }
    const isDefault = (model: StoredModel) => model.info.id === env.DEFAULT_MODEL;
    this.#models = [...byId.values()].sort((a, b) => Number(isDefault(b)) - Number(isDefault(a)));
    this.#readAtMs = Date.now();
  }
}

async function embeddedModel(env: Env, path: string): Promise<StoredModel | null> {
  const url = `${ASSETS_ORIGIN}/${path}`;
  const response = await env.ASSETS.fetch(url);
  const text = await response.text();
  if (response.status === 404) return null;
  return parsed(text, url, openEmbedded);
}

/** null = the bucket did not answer; then the last known list stands. */
async function addedModels(env: Env): Promise<StoredModel[] | null> {
  try {
    const models: StoredModel[] = [];
    let cursor: string | undefined;
    do {
      const page = await env.MODELS.list({ prefix: MODELS_PREFIX, ...(cursor === undefined ? {} : { cursor }) });
      for (const { key, size } of page.objects) {
        const model = idOfManifestKey(key) === null ? null : await addedModel(env, key, size);
        if (model !== null) models.push(model);
      }
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
    return models;
  } catch (cause) {
    console.error("The models in the bucket cannot be listed; going on with those known:", cause);
    return null;
  }
}

async function addedModel(env: Env, key: string, sizeBytes: number): Promise<StoredModel | null> {
  if (sizeBytes > MANIFEST_BYTES_MAX) {
    console.error(`The manifest ${key} has ${sizeBytes} bytes, more than ${MANIFEST_BYTES_MAX}; it is left out.`);
    return null;
  }
  const object = await env.MODELS.get(key);
  // Removed since it was listed.
  if (object === null) return null;
  return parsed(await object.text(), `r2:${key}`, openAdded);
}

type Open = (env: Env, manifest: ModelManifest) => ByteSource;

const openEmbedded: Open = (env, manifest) =>
  fetchSource(`${ASSETS_ORIGIN}/${modelFileKey(manifest)}`, { fetch: (url, init) => env.ASSETS.fetch(url, init) });

const openAdded: Open = (env, manifest) => r2Source(env.MODELS, modelFileKey(manifest));

function parsed(text: string, where: string, open: Open): StoredModel | null {
  try {
    const manifest = parseManifest(text, where);
    return { key: `${manifest.id}@${manifest.sha256}`, info: infoOf(manifest), open: (env) => open(env, manifest) };
  } catch (cause) {
    console.error("A model is left out:", cause);
    return null;
  }
}

function infoOf(manifest: ModelManifest): ModelInfo {
  return {
    id: manifest.id,
    created: manifest.createdAt === null ? 0 : Math.floor(Date.parse(manifest.createdAt) / 1000),
    parent: null,
    ownedBy: "runnel",
    contextLength: manifest.contextLength,
    description: manifest.description ?? manifest.name,
    architecture: manifest.architecture,
    quantization: manifest.quantization,
    numParameters: manifest.parameters,
    sizeBytes: manifest.sizeBytes,
    sha256: manifest.sha256,
    license: manifest.license,
    capabilities: manifest.capabilities ?? ["completion"],
    residency: null,
  };
}

export const modelStore = new ModelStore();
