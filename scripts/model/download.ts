/**
 * Downloads a model into a file that survives an interruption: what arrived is kept beside a note of the version it
 * came from, and a later run goes on there if the server still has that version, or starts again if not.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type FetchSource, isSameVersion, type SourceVersion } from "../../src/model/source-fetch.ts";
import { CommandError } from "./errors.ts";

export interface Download {
  path: string;
  /** Deletes the file and its note. */
  discard(): Promise<void>;
}

/**
 * @param source has been opened before (its header was read), so its version is known
 * @param onProgress bytes that are on disk
 * @throws ModelError `unreadable`; what arrived is kept
 */
export async function download(
  source: FetchSource,
  folder: string,
  onProgress: (doneBytes: number) => void,
): Promise<Download> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${createHash("sha256").update(source.name).digest("hex").slice(0, 16)}.gguf`);
  const notePath = `${path}.json`;
  const keptBytes = await resumableBytes(path, notePath, source.version);
  onProgress(keptBytes);
  const doneBytes = keptBytes === source.sizeBytes ? keptBytes : await append(source, path, keptBytes, onProgress);
  if (source.sizeBytes !== null && doneBytes !== source.sizeBytes) {
    throw new CommandError(`${source.name} has ${source.sizeBytes} bytes, but ${doneBytes} arrived. Start again.`);
  }
  return {
    path,
    async discard() {
      await rm(path, { force: true });
      await rm(notePath, { force: true });
    },
  };
}

/** Bytes of an earlier download that may be kept. */
async function resumableBytes(path: string, notePath: string, version: SourceVersion | null): Promise<number> {
  try {
    const noted = JSON.parse(await readFile(notePath, "utf8")) as SourceVersion;
    const { size } = await stat(path);
    const isSame = version?.sizeBytes != null && size <= version.sizeBytes && isSameVersion(noted, version);
    return isSame ? size : 0;
  } catch {
    // No note, no file, or a note cut off by a crash: there is nothing to go on from.
    return 0;
  }
}

async function append(
  source: FetchSource,
  path: string,
  keptBytes: number,
  onProgress: (doneBytes: number) => void,
): Promise<number> {
  const stream = (await source.open(keptBytes)) as unknown as AsyncIterable<Uint8Array>;
  // The old bytes go before the new note comes, so that the two never belong to different versions.
  const file = await open(path, keptBytes === 0 ? "w" : "a");
  let doneBytes = keptBytes;
  try {
    if (keptBytes === 0) await writeFile(`${path}.json`, JSON.stringify(source.version));
    for await (const chunk of stream) {
      await file.writeFile(chunk);
      doneBytes += chunk.length;
      onProgress(doneBytes);
    }
    return doneBytes;
  } finally {
    await file.close();
  }
}
