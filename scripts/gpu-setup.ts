/**
 * `npm run gpu:setup`: can Vulkan find an NVIDIA GPU in this container? Says what is missing, and writes the one file that
 * can be written from inside. `npm run bench:gpu` does the same for itself.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCommand, say } from "./bench/command.ts";
import { adviseVulkan, inspectVulkan, manifestVariables } from "./bench/gpu/nvidia-vulkan.ts";
import { userPath } from "./model/host.ts";

const HELP = `Usage: eval "$(npm run --silent gpu:setup)"

Looks for NVIDIA's Vulkan driver: device, NVIDIA_DRIVER_CAPABILITIES, loader, driver libraries and their manifests. Where
only the manifest is missing, or names a library that wants X11, writes a private one and prints the variables that name it.
Findings go to stderr. Exit code 1 where something is left to do outside.

  --dir DIR  where the manifest is written (default: in the system's temporary folder)
  --help     this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: "string" }, help: { type: "boolean", default: false } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { manifest, lines, isUsable } = adviseVulkan(inspectVulkan("/", process.env));
  for (const line of lines) say(line);
  if (manifest !== null) {
    const folder = values.dir === undefined ? join(tmpdir(), "runnel-vulkan") : userPath(values.dir, process.env);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, "nvidia_icd.json");
    writeFileSync(path, manifest);
    for (const [name, value] of Object.entries(manifestVariables(path))) console.log(`export ${name}='${value}'`);
  }
  if (!isUsable) process.exitCode = 1;
}

await runCommand("gpu:setup", main);
