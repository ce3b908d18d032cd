import type { ModelManifest } from "../../src/model/catalog.ts";
import { columns } from "./columns.ts";
import { embeddedModels } from "./embedded.ts";
import type { Host } from "./host.ts";
import type { ModelStore } from "./model-store.ts";
import { formatBytes } from "./progress.ts";

export async function listModels(openStore: () => Promise<ModelStore>, asJson: boolean, host: Host): Promise<void> {
  const store = await openStore();
  try {
    const embedded = embeddedModels();
    const added = await store.list(host.warn);
    host.print(asJson ? JSON.stringify([...embedded, ...added], null, 2) : listText(embedded, added));
  } finally {
    await store.close();
  }
}

export function listText(embedded: readonly ModelManifest[], added: readonly ModelManifest[]): string {
  const rows = [
    ["NAME", "SIZE", "WEIGHTS", "PARAMETERS", "CONTEXT", "ADDED"],
    ...embedded.map((manifest) => row(manifest, "built in")),
    ...added.map((manifest) => row(manifest, manifest.createdAt?.slice(0, 10) ?? "")),
  ];
  return columns(rows);
}

function row(manifest: ModelManifest, added: string): string[] {
  const { id, sizeBytes, quantization, parameters, contextLength } = manifest;
  const millions = parameters === null ? "" : `${(parameters / 1e6).toFixed(1)} M`;
  return [id, formatBytes(sizeBytes), quantization ?? "", millions, String(contextLength), added];
}
