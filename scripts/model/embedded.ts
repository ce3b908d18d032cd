/** The models that come with the static assets. They are served under their names whatever the bucket holds. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ModelManifest, parseManifest } from "../../src/model/catalog.ts";
import { ROOT } from "./paths.ts";

const FOLDER = join(ROOT, "public/models");

export function embeddedModels(): ModelManifest[] {
  if (!existsSync(FOLDER)) return [];
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  return files.map((name) => parseManifest(readFileSync(join(FOLDER, name), "utf8"), join(FOLDER, name)));
}
