/** Installs the peers that this engine is compared with, on demand and outside the repository. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CommandError } from "../model/errors.ts";
import { say } from "./command.ts";
import { cacheFolder } from "./models.ts";

const NODE_LLAMA_CPP = "3.22.1";
/** The last wllama with SIMD kernels for quantized weights; later builds run scalar ones and are several times slower. */
const WLLAMA = "2.3.1";

/** Prebuilt libraries come as a package for each platform. */
const PREBUILT: Record<string, string> = {
  "linux x64": "@node-llama-cpp/linux-x64",
  "linux arm64": "@node-llama-cpp/linux-arm64",
  "darwin x64": "@node-llama-cpp/mac-x64",
  "darwin arm64": "@node-llama-cpp/mac-arm64-metal",
  "win32 x64": "@node-llama-cpp/win-x64",
};

/**
 * @returns the folder that has the peers' node_modules
 * @throws CommandError where they cannot be installed
 */
export function installPeers(): string {
  const folder = join(cacheFolder(), `peers-${NODE_LLAMA_CPP}-${WLLAMA}`);
  const done = join(folder, "installed");
  if (existsSync(done)) return folder;
  const platform = `${process.platform} ${process.arch}`;
  const prebuilt = PREBUILT[platform];
  if (prebuilt === undefined) throw new CommandError(`There is no prebuilt llama.cpp for ${platform} to compare with.`);
  mkdirSync(folder, { recursive: true });
  const dependencies = { "node-llama-cpp": NODE_LLAMA_CPP, [prebuilt]: NODE_LLAMA_CPP, "@wllama/wllama": WLLAMA };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies }, null, 2));
  say(`Installing the peers into ${folder} …`);
  // The platform's library is named above; the other optional packages are gigabytes of GPU libraries.
  const args = ["install", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { status, error } = spawnSync("npm", args, { cwd: folder, stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    throw new CommandError(
      `npm could not install the peers in ${folder}${error === undefined ? "" : `: ${error.message}`}. The reason is ` +
        "above; with an installation of your own, pass --peers DIR.",
    );
  }
  writeFileSync(done, "");
  return folder;
}
