/**
 * Finds what the WASM build needs: a Rust toolchain that can compile for wasm32-unknown-unknown, wasm-pack and
 * wasm-opt. Two kinds of toolchain do:
 *
 *  - "prebuilt": rustup with `rustup target add wasm32-unknown-unknown`;
 *  - "build-std": a toolchain with the sources of the standard library but not the target, such as Debian's packages
 *    rustc-web, cargo-web, rust-web-src and lld; core is compiled along.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

const TARGET = "wasm32-unknown-unknown";

/** An error to show as it is, without a stack. */
export class BuildError extends Error {}

export interface RustToolchain {
  kind: "prebuilt" | "build-std";
  /** Of rustc and cargo. */
  folder: string;
  version: string;
  linker: string | null;
  /** Of the standard library, where it is compiled along. */
  sources: string | null;
}

export interface Tool {
  path: string;
  folder: string;
  version: string;
}

export interface Toolchain {
  rust: RustToolchain;
  wasmPack: Tool;
  wasmOpt: Tool;
  versions: Record<string, string | null>;
}

/** Standard output, trimmed; null when the command fails or is not there. */
function output(command: string, args: string[]): string | null {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

function searchFolders(root: string): string[] {
  const home = process.env.CARGO_HOME ?? join(homedir(), ".cargo");
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...new Set([join(root, "node_modules/.bin"), ...path, join(home, "bin"), "/usr/local/bin", "/usr/bin"])];
}

/** The first of `folders` where `works(path of the command)` gives something, with what it gave. */
function find<T>(folders: string[], command: string, works: (path: string, folder: string) => T | null): T | null {
  for (const folder of folders) {
    const path = join(folder, command);
    if (!existsSync(path)) continue;
    const found = works(path, folder);
    if (found !== null) return found;
  }
  return null;
}

function asToolchain(rustc: string, folder: string): RustToolchain | null {
  const version = output(rustc, ["--version"]);
  const cargo = join(folder, "cargo");
  if (version === null || !existsSync(cargo)) return null;
  const libraries = output(rustc, ["--target", TARGET, "--print", "target-libdir"]);
  if (libraries !== null && existsSync(libraries) && readdirSync(libraries).some((name) => name.endsWith(".rlib"))) {
    return { kind: "prebuilt", folder, version, linker: null, sources: null };
  }
  const sysroot = output(rustc, ["--print", "sysroot"]);
  const sources = sysroot === null ? null : join(sysroot, "lib/rustlib/src/rust/library");
  const linker = findLinker();
  if (sources === null || !existsSync(join(sources, "core")) || linker === null) return null;
  return { kind: "build-std", folder, version, linker, sources };
}

function asTool(path: string, folder: string): Tool | null {
  const version = output(path, ["--version"]);
  return version === null ? null : { path, folder, version };
}

/** lld for WebAssembly; Debian puts a version into its name. */
function findLinker(): string | null {
  const names = ["/usr/bin", "/usr/local/bin"]
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((path) => /\/wasm-ld(-\d+)?$/.test(path))
    .sort();
  return names.at(-1) ?? null;
}

/** @throws BuildError naming what is missing and how to get it */
export function findToolchain(root: string): Toolchain {
  const folders = searchFolders(root);
  const rust = find(folders, "rustc", asToolchain);
  if (rust === null) {
    throw new BuildError(
      `No Rust toolchain for ${TARGET} was found.\n` +
        "  With rustup:     rustup target add wasm32-unknown-unknown\n" +
        "  On Debian:       scripts/ci-toolchain.sh (as root)",
    );
  }
  const wasmPack = find(folders, "wasm-pack", asTool);
  if (wasmPack === null) throw new BuildError("wasm-pack was not found: cargo install --locked wasm-pack");
  const wasmOpt = find([join(root, "node_modules/.bin")], "wasm-opt", asTool);
  if (wasmOpt === null)
    throw new BuildError("wasm-opt was not found: run npm ci (it comes with the package binaryen).");
  return {
    rust,
    wasmPack,
    wasmOpt,
    versions: {
      rustc: rust.version,
      std: rust.kind,
      wasmPack: wasmPack.version,
      wasmOpt: wasmOpt.version,
    },
  };
}
