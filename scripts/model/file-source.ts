/** A file on disk as a byte source, with what is wrong with it as the command line's error. */
import { statSync } from "node:fs";
import type { ByteSource } from "../../src/model/byte-source.ts";
import { openFile } from "../../src/model/source-file.ts";
import { CommandError } from "./errors.ts";

/** @throws CommandError where it is not a readable file */
export function fileSource(path: string): ByteSource {
  return openFile(path, fileSize(path));
}

export function fileSize(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new CommandError(`There is no file ${path}.`);
  if (!stats.isFile()) throw new CommandError(`${path} is not a file. Name the .gguf file itself.`);
  return stats.size;
}
