/**
 * Builds the CPU engine (wasm/) with wasm-pack: four kernel sets from one crate, into wasm/pkg. The result is committed,
 * so nobody needs Rust to run, test or deploy. `npm run build:wasm`, `npm run check:wasm`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  LINK_FLAGS,
  makeManifest,
  moduleFile,
  OPT_FLAGS,
  packageProblems,
  readManifest,
  SETS,
} from "./wasm/manifest.ts";
import { BuildError, findToolchain } from "./wasm/toolchain.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");
const PKG = join(ROOT, "wasm/pkg");

const HELP = `Usage: node scripts/build-wasm.mjs [--check] [--out DIR]

Builds runnel_scalar.wasm, runnel_simd128.wasm, runnel_relaxed.wasm and runnel_dot32.wasm with a manifest into wasm/pkg.

  --check    change nothing: fail unless wasm/pkg belongs to the sources and a fresh build proves it. With the toolchain
             that built wasm/pkg the bytes must be equal; with another one the engine's tests must pass on the fresh build.
  --which    only say which toolchain would be used; exit code 1 when there is none
  --out DIR  build into DIR instead of wasm/pkg
  --help     this text

Needs a Rust toolchain for wasm32-unknown-unknown (rustup, or Debian's rustc-web with rust-web-src and lld), wasm-pack,
and wasm-opt from npm. scripts/ci-toolchain.sh installs them on Debian. Exit codes: 0 done, 1 failed or not
matching, 2 called wrongly.`;

function run(command, args, env) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", env, cwd: ROOT });
  if (status !== 0) throw new BuildError(`${command} ${args[0] ?? ""} failed${error ? `: ${error.message}` : ""}.`);
}

/** Paths of this machine must not reach the module, so that every machine makes the same bytes. */
function rustFlags(toolchain, set) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), ".cargo");
  const flags = LINK_FLAGS.map((flag) => `-Clink-arg=${flag}`);
  flags.push(`--remap-path-prefix=${ROOT}/wasm=/wasm`, `--remap-path-prefix=${cargoHome}=/cargo`);
  if (toolchain.rust.sources !== null) flags.push(`--remap-path-prefix=${toolchain.rust.sources}=/std`);
  if (toolchain.rust.linker !== null) flags.push(`-Clinker=${toolchain.rust.linker}`);
  if (SETS[set].targetFeatures !== "") flags.push(`-Ctarget-feature=${SETS[set].targetFeatures}`);
  return flags.join(" ");
}

function buildSet(toolchain, set, folder) {
  const { rust, wasmPack, wasmOpt } = toolchain;
  const raw = mkdtempSync(join(tmpdir(), "runnel-wasm-"));
  const env = {
    ...process.env,
    // wasm-pack takes the first rustc, cargo and wasm-bindgen; the last is our stand-in, see there.
    PATH: [join(ROOT, "scripts/wasm/bin"), rust.folder, process.env.PATH].join(delimiter),
    RUSTFLAGS: rustFlags(toolchain, set),
    // Each set has its own flags; apart, their caches survive each other.
    CARGO_TARGET_DIR: process.env.RUNNEL_WASM_TARGET ?? join(ROOT, "wasm/target", set),
  };
  const cargoFlags = ["--locked", ...SETS[set].cargoFeatures.map((feature) => `--features=${feature}`)];
  let mode = "no-install";
  if (rust.kind === "build-std") {
    env.RUSTC_BOOTSTRAP = "1";
    cargoFlags.push("-Zbuild-std=core");
    // wasm-pack looks for a prebuilt target, which build-std does without; "force" leaves that check out.
    mode = "force";
  }
  const name = `runnel_${set}`;
  const packFlags = ["--release", "--target", "web", "--no-typescript", "--no-pack", "--no-opt", "--mode", mode];
  run(
    wasmPack.path,
    ["build", join(ROOT, "wasm"), ...packFlags, "--out-dir", raw, "--out-name", name, "--", ...cargoFlags],
    env,
  );
  const target = join(folder, moduleFile(set));
  run(wasmOpt.path, [join(raw, `${name}_bg.wasm`), "-o", target, ...OPT_FLAGS, ...SETS[set].optFlags], process.env);
  rmSync(raw, { recursive: true });
}

function build(toolchain, folder) {
  mkdirSync(folder, { recursive: true });
  for (const set of Object.keys(SETS)) {
    console.log(`Building ${moduleFile(set)} …`);
    buildSet(toolchain, set, folder);
  }
  const manifest = makeManifest(ROOT, folder, toolchain.versions);
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  for (const [name, { bytes }] of Object.entries(manifest.files)) console.log(`${name}: ${bytes} bytes`);
}

function check(toolchain) {
  const problems = packageProblems(ROOT, PKG);
  if (problems.length > 0) throw new BuildError(`${problems.join("\n")}\nRun npm run build:wasm and commit wasm/pkg.`);
  const fresh = mkdtempSync(join(tmpdir(), "runnel-wasm-check-"));
  try {
    build(toolchain, fresh);
    const shipped = readManifest(PKG);
    if (JSON.stringify(shipped.toolchain) === JSON.stringify(toolchain.versions)) {
      for (const set of Object.keys(SETS)) {
        const [a, b] = [PKG, fresh].map((folder) => readFileSync(join(folder, moduleFile(set))));
        if (!a.equals(b)) throw new BuildError(`${moduleFile(set)} differs from a fresh build of the same sources.`);
      }
      console.log("wasm/pkg is what the sources build, byte for byte.");
      return;
    }
    console.log("The toolchain is not the one that built wasm/pkg; running the engine's tests on the fresh build.");
    const env = { ...process.env, RUNNEL_WASM_PKG: fresh };
    run(join(ROOT, "node_modules/.bin/vitest"), ["run", "--project", "unit", "test/unit/cpu"], env);
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

try {
  const { values } = parseArgs({
    options: {
      check: { type: "boolean" },
      which: { type: "boolean" },
      out: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) console.log(HELP);
  else if (values.which) console.log(JSON.stringify(findToolchain(ROOT).versions, null, 2));
  else if (values.check) check(findToolchain(ROOT));
  else build(findToolchain(ROOT), values.out ?? PKG);
} catch (error) {
  const isUsage = String(error.code).startsWith("ERR_PARSE_ARGS");
  if (!(error instanceof BuildError) && !isUsage) throw error;
  console.error(error.message);
  process.exitCode = isUsage ? 2 : 1;
}
