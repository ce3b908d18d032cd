/** The link between the committed modules and the source they were built from: hashes of both, in wasm/pkg/manifest.json. */
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { KernelSet } from "../../src/backends/cpu/kernel-set.ts";
import { compile } from "../../test/support/kernel-modules.ts";

export interface Manifest {
  sourceSha256: string;
  /** Versions of what built it. */
  toolchain: Record<string, string | null>;
  files: Record<string, { sha256: string; bytes: number; exports: string[] }>;
}

/** Kernel set → what is added to the target. */
export const SETS: Record<KernelSet, { targetFeatures: string; cargoFeatures: string[]; optFlags: string[] }> = {
  scalar: { targetFeatures: "", cargoFeatures: [], optFlags: [] },
  simd128: { targetFeatures: "+simd128", cargoFeatures: [], optFlags: ["--enable-simd"] },
  relaxed: {
    targetFeatures: "+simd128,+relaxed-simd",
    cargoFeatures: [],
    optFlags: ["--enable-simd", "--enable-relaxed-simd"],
  },
  dot32: {
    targetFeatures: "+simd128,+relaxed-simd",
    cargoFeatures: ["dot32"],
    optFlags: ["--enable-simd", "--enable-relaxed-simd"],
  },
};

// The flags decide the bytes, so they are part of the source hash.
export const LINK_FLAGS = ["-zstack-size=131072"];
/** -O1, not -O3: what -O3 does to locals costs V8 registers (Q4_0, one token: 24 → 18 G multiply-adds a second). */
export const OPT_FLAGS = [
  "-O1",
  // Into the offsets of loads, which x64 adds for free; sound because nothing of ours lies in the first 1,024 bytes (the far
  // end of the stack).
  "--low-memory-unused",
  "--optimize-added-constants",
  "--strip-debug",
  "--strip-producers",
  "--strip-target-features",
  "--enable-bulk-memory",
  "--enable-bulk-memory-opt",
  "--enable-mutable-globals",
  "--enable-nontrapping-float-to-int",
  "--enable-sign-ext",
  "--enable-reference-types",
  "--enable-multivalue",
];

export const moduleFile = (set: string) => `runnel_${set}.wasm`;

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** Of every file and flag that the modules are built from. */
export function sourceHash(root: string): string {
  const files = ["Cargo.toml", "Cargo.lock", ...globSync("src/**/*.rs", { cwd: join(root, "wasm") }).sort()];
  const parts = files.map((file) => `${file} ${sha256(readFileSync(join(root, "wasm", file)))}\n`);
  return sha256(parts.join("") + JSON.stringify([SETS, LINK_FLAGS, OPT_FLAGS]));
}

export function makeManifest(root: string, folder: string, versions: Manifest["toolchain"]): Manifest {
  const files: Manifest["files"] = {};
  for (const set of Object.keys(SETS)) {
    const bytes = readFileSync(join(folder, moduleFile(set)));
    const module = compile(bytes);
    const names = WebAssembly.Module.exports(module).map(({ name }) => name);
    files[moduleFile(set)] = { sha256: sha256(bytes), bytes: bytes.length, exports: names.sort() };
  }
  return { sourceSha256: sourceHash(root), toolchain: versions, files };
}

export function readManifest(folder: string): Manifest | null {
  const path = join(folder, "manifest.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
}

/** What does not belong together in `folder`, as sentences; empty = sound. */
export function packageProblems(root: string, folder: string): string[] {
  const manifest = readManifest(folder);
  if (manifest === null) return [`${folder} has no manifest.json.`];
  const problems: string[] = [];
  const hash = sourceHash(root);
  if (manifest.sourceSha256 !== hash) {
    problems.push(
      `The modules were built from other sources (${manifest.sourceSha256.slice(0, 12)}, now ${hash.slice(0, 12)}).`,
    );
  }
  for (const [name, { sha256: expected }] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    if (!existsSync(path)) problems.push(`${name} is missing.`);
    else if (sha256(readFileSync(path)) !== expected) problems.push(`${name} is not the file that was built.`);
  }
  return problems;
}
