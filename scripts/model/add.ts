/**
 * `add`: check, fetch, store. Everything that can be refused is refused from the header, before a byte is copied. The
 * file is stored under its content's hash and the manifest last, so that at no moment a model is listed whose file is
 * not whole, also when one is replaced or the command is interrupted.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { capabilitiesOf } from "../../src/model/capabilities.ts";
import { isModelId, MODEL_ID_RULE, type ModelManifest, modelFileKey } from "../../src/model/catalog.ts";
import { ModelError } from "../../src/model/errors.ts";
import { fetchSource } from "../../src/model/source-fetch.ts";
import { type Download, download } from "./download.ts";
import { embeddedModels } from "./embedded.ts";
import { CommandError, UsageError } from "./errors.ts";
import { fileSize, fileSource } from "./file-source.ts";
import type { Host } from "./host.ts";
import { type Inspection, inspect, inspectionText } from "./inspect.ts";
import type { ModelStore, StoredFile } from "./model-store.ts";
import { Progress } from "./progress.ts";
import { type ModelSource, parseSource } from "./source.ts";

/** Of the SHA-256, in the name of the stored file: two versions of a model never share a key. */
const HASH_CHARS = 12;

export interface AddOptions {
  name?: string | undefined;
  replace: boolean;
  dryRun: boolean;
  /** Where unfinished downloads wait. */
  downloadsDir: string;
}

export async function addModel(
  sourceText: string,
  options: AddOptions,
  openStore: () => Promise<ModelStore>,
  host: Host,
): Promise<void> {
  const { env } = host;
  const source = parseSource(sourceText, env);
  const id = modelId(options.name, source);
  const candidate =
    source.kind === "url" ? remoteCandidate(source, options.downloadsDir, host) : localCandidate(source.path);
  host.print(inspectionText(await candidate.inspect(env.MEMORY_BUDGET_BYTES)));
  if (options.dryRun) return;

  const store = await openStore();
  try {
    const old = await store.find(id);
    if (old !== null && !options.replace) {
      throw new CommandError(`There is a model '${id}' already. Use --replace, or another --name.`);
    }
    const file = await candidate.bringHere();
    // What was checked may have come over another connection than what lies on the disk now.
    const inspection = await inspect(fileSource(file.path), env.MEMORY_BUDGET_BYTES);
    await storeModel(store, id, file.path, inspection, old, host);
    await file.discard();
  } finally {
    await store.close();
  }
  host.print(`Added ${id}.`);
}

/** A model that is wanted: it can be looked at where it is, and be brought to this disk. */
interface Candidate {
  inspect(budgetVariable: string | undefined): Promise<Inspection>;
  bringHere(): Promise<Download>;
}

function localCandidate(path: string): Candidate {
  return {
    inspect: (budgetVariable) => inspect(fileSource(path), budgetVariable),
    bringHere: async () => ({ path, discard: async () => undefined }),
  };
}

function remoteCandidate(source: ModelSource & { kind: "url" }, downloadsDir: string, host: Host): Candidate {
  const bytes = fetchSource(source.url, { headers: source.headers });
  return {
    inspect: (budgetVariable) => withTokenHint(source, () => inspect(bytes, budgetVariable)),
    async bringHere() {
      const bar = new Progress("downloading", bytes.sizeBytes, host);
      try {
        return await download(bytes, downloadsDir, (doneBytes) => bar.update(doneBytes));
      } finally {
        bar.end();
      }
    },
  };
}

function modelId(name: string | undefined, source: ModelSource): string {
  const id = name ?? source.fileName.replace(/\.gguf$/i, "");
  if (!isModelId(id)) {
    throw new UsageError(`'${id}' is no name for a model: ${MODEL_ID_RULE}. Give another one with --name.`);
  }
  if (embeddedModels().some((model) => model.id === id)) {
    throw new UsageError(`'${id}' is the name of a built-in model. Give another one with --name.`);
  }
  return id;
}

async function storeModel(
  store: ModelStore,
  id: string,
  path: string,
  inspection: Inspection,
  old: ModelManifest | null,
  host: Host,
): Promise<void> {
  const file: StoredFile = { path, sizeBytes: fileSize(path), sha256: await hashFile(path, host) };
  const manifest = manifestOf(id, file, inspection);
  const bar = new Progress("copying", file.sizeBytes, host);
  try {
    await store.putFile(modelFileKey(manifest), file, (doneBytes) => bar.update(doneBytes));
  } finally {
    bar.end();
  }
  await store.putManifest(manifest);
  if (old !== null && old.file !== manifest.file) await store.delete(modelFileKey(old));
}

async function hashFile(path: string, host: Host): Promise<string> {
  const hash = createHash("sha256");
  const bar = new Progress("hashing", fileSize(path), host);
  let doneBytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Uint8Array);
    doneBytes += (chunk as Uint8Array).length;
    bar.update(doneBytes);
  }
  bar.end();
  return hash.digest("hex");
}

function manifestOf(id: string, file: StoredFile, { header, spec, description }: Inspection): ModelManifest {
  const text = (key: string) => {
    const value = header.metadata.get(key);
    return typeof value === "string" && value !== "" ? value : null;
  };
  return {
    id,
    name: text("general.name") ?? id,
    description: text("general.description"),
    file: `${id}.${file.sha256.slice(0, HASH_CHARS)}.gguf`,
    sizeBytes: file.sizeBytes,
    sha256: file.sha256,
    contextLength: spec.contextLength,
    parameters: description.numParameters,
    quantization: description.quantization,
    architecture: spec.architecture,
    license: text("general.license"),
    capabilities: capabilitiesOf(header),
    createdAt: new Date().toISOString(),
  };
}

/** Hugging Face answers 401 for what is private, gated or not there at all. */
async function withTokenHint<T>(source: ModelSource & { kind: "url" }, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const isDenied = cause instanceof ModelError && / answered 40[13]/.test(cause.message);
    if (!isDenied || !source.isHuggingFace) throw cause;
    const hint = source.headers.authorization === undefined ? "set HF_TOKEN" : "see whether HF_TOKEN may read it";
    throw new CommandError(`${cause.message} Check organisation, repository and file, or ${hint}.`, { cause });
  }
}
