/**
 * SwiftShader, Vulkan on the CPU, from npm alone: `@sparticuz/chromium` carries it with a loader. For tests and for
 * `--software`, on Linux x64. The loader is opened by its path before Dawn asks for `libvulkan.so.1`, which then finds the
 * one that is loaded already: neither an installed driver nor `LD_LIBRARY_PATH` is needed.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Keeps the library although Node refuses it as an addon. `RTLD_NODELETE` of glibc, which Node has no name for. */
const RTLD_NODELETE = 0x1000;

/** Makes SwiftShader the only Vulkan driver of this process. Elsewhere than on Linux x64 it does nothing. */
export async function useSoftwareVulkan(): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64") return;
  const folder = await unpackSwiftShader();
  process.env.VK_ICD_FILENAMES = join(folder, "vk_swiftshader_icd.json");
  try {
    process.dlopen({ exports: {} }, join(folder, "libvulkan.so.1"), constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    const isLoaded = String(error).includes("did not self-register");
    if (!isLoaded) throw new Error(`The software Vulkan loader in ${folder} cannot be opened.`, { cause: error });
  }
}

function packageFolder(): string {
  try {
    return join(dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium"))), "..");
  } catch (cause) {
    throw new Error("SwiftShader comes with the development package @sparticuz/chromium. Run `npm ci` with those.", {
      cause,
    });
  }
}

/** Folder with the driver, in `node_modules/.cache` under the package's version; complete or not there at all. */
async function unpackSwiftShader(): Promise<string> {
  const packageRoot = packageFolder();
  const { version } = JSON.parse(await readFile(join(packageRoot, "package.json"), "utf8")) as { version: string };
  const cache = join(packageRoot, "../../.cache");
  const target = join(cache, `swiftshader-${version}`);
  if (existsSync(target)) return target;

  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, "swiftshader-staging-"));
  const systemFolder = process.env.TMPDIR;
  try {
    const { inflate } = await import("@sparticuz/chromium");
    // The package only ever unpacks into the system's temporary folder, so that is what changes for a moment.
    process.env.TMPDIR = staging;
    await inflate(join(packageRoot, "bin/swiftshader.tar.br"));
    await rename(staging, target).catch((error: NodeJS.ErrnoException) => {
      // Another process was faster; its folder is complete.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    if (systemFolder === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = systemFolder;
    await rm(staging, { recursive: true, force: true });
  }
  return target;
}
