import { isModelId, MODEL_ID_RULE, manifestKey, modelFileKey } from "../../src/model/catalog.ts";
import { embeddedModels } from "./embedded.ts";
import { CommandError, UsageError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { ModelStore } from "./model-store.ts";

/** The manifest goes first: a model is never listed without its file. */
export async function removeModel(id: string, openStore: () => Promise<ModelStore>, host: Host): Promise<void> {
  if (!isModelId(id)) throw new UsageError(`'${id}' is no name of a model: ${MODEL_ID_RULE}.`);
  if (embeddedModels().some((model) => model.id === id)) {
    throw new CommandError(`'${id}' is built in and cannot be removed.`);
  }
  const store = await openStore();
  try {
    const manifest = await store.find(id);
    if (manifest === null) throw new CommandError(`There is no model '${id}'. See \`npm run model -- list\`.`);
    await store.delete(manifestKey(id));
    await store.delete(modelFileKey(manifest));
    host.print(`Removed ${id}.`);
  } finally {
    await store.close();
  }
}
