/** The models a benchmark runs on: files the user named, or the demo and random models of a well-known shape. */
import { mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { CommandError } from "../model/errors.ts";
import { userPath } from "../model/host.ts";
import { ROOT } from "../model/paths.ts";
import { say } from "./command.ts";
import type { MixName, ShapeName } from "./gguf-shapes.ts";
import { randomGguf } from "./random-gguf.ts";

export interface BenchModel {
  /** For tables: the file's name without ".gguf". */
  name: string;
  path: string;
  sizeBytes: number;
  /** Weights mean nothing; only speed and memory do. */
  isRandom: boolean;
}

const SEED = 1;
/** Of the file's bytes: raised with every change of `random-gguf.ts`, so that no old file is measured. */
const FORMAT = 1;

const DEMO = join(ROOT, "public/models/demo.gguf");
export const RANDOM_MIXES: readonly MixName[] = ["q4_0", "q8_0", "q4_k_m"];

/** Generated models and installed peers; anything in it may be deleted. */
export function cacheFolder(): string {
  const folder = process.env.RUNNEL_BENCH_CACHE ?? join(tmpdir(), "runnel-bench");
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** @param paths none = the defaults @throws CommandError where a file is not there */
export function benchModels(paths: readonly string[], defaults: () => BenchModel[]): BenchModel[] {
  return paths.length === 0 ? defaults() : paths.map((path) => modelFile(userPath(path, process.env), false));
}

export function demoModel(): BenchModel {
  return { ...modelFile(DEMO, false), name: "runnel-demo" };
}

/** Written once to the cache folder. */
export function randomModel(mix: MixName, shape: ShapeName = "smollm2-135m"): BenchModel {
  const path = join(cacheFolder(), `${shape}-${mix}-seed${SEED}-v${FORMAT}.gguf`);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    say(`Writing a random ${shape} in ${mix} to ${path} …`);
    // Whole or not at all: an interrupted run must not leave half a model behind.
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, randomGguf({ shape, mix, seed: SEED }));
    renameSync(draft, path);
  }
  return { ...modelFile(path, true), name: `${shape}-${mix}` };
}

function modelFile(path: string, isRandom: boolean): BenchModel {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile()) throw new CommandError(`There is no file ${path}. Name a .gguf file.`);
  return { name: basename(path).replace(/\.gguf$/i, ""), path, sizeBytes: stats.size, isRandom };
}
