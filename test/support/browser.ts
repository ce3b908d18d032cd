/**
 * A real Chromium for tests, from npm alone: `@sparticuz/chromium` carries the compressed browser, the few system
 * libraries that slim images lack and one font; `playwright-core` drives it. Everything is unpacked once into
 * `node_modules/.cache` under the package's version, complete or not at all (a rename), so that runs side by side
 * cannot meet half a file. Only the carried font is visible to the browser: screenshots then look the same on every
 * machine, whatever fonts it has.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inflate } from "@sparticuz/chromium";
import { type Browser, chromium } from "playwright-core";

const PACKAGE_ROOT = join(dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium"))), "..");
const CACHE_ROOT = join(import.meta.dirname, "../../node_modules/.cache");

/** Files of the package: the browser, its font, and NSS and expat for systems without them. */
const ARCHIVES = ["chromium.br", "fonts.tar.br", "al2023.tar.br"];

/** Folder with `chromium`, `fonts/` and `al2023/lib/`; unpacks on first use (about 10 s). */
async function unpackBrowser(): Promise<string> {
  const { version } = JSON.parse(await readFile(join(PACKAGE_ROOT, "package.json"), "utf8")) as { version: string };
  const target = join(CACHE_ROOT, `chromium-${version}`);
  if (existsSync(target)) return target;

  await mkdir(CACHE_ROOT, { recursive: true });
  const staging = await mkdtemp(join(CACHE_ROOT, "chromium-staging-"));
  try {
    await inflateInto(staging);
    await writeFile(join(staging, "fonts.conf"), fontsConfig(join(target, "fonts"), join(target, "font-cache")));
    await rename(staging, target).catch((error: NodeJS.ErrnoException) => {
      // Another run was faster; its folder is complete.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return target;
}

/** The package only ever unpacks into the system's temporary folder, so that is what changes for a moment. */
async function inflateInto(folder: string): Promise<void> {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = folder;
  try {
    await Promise.all(ARCHIVES.map((name) => inflate(join(PACKAGE_ROOT, "bin", name))));
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
}

function fontsConfig(fontFolder: string, cacheFolder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${fontFolder}</dir><cachedir>${cacheFolder}</cachedir></fontconfig>
`;
}

/** One browser; the caller closes it. Contexts of it are as good as fresh browsers and start in milliseconds. */
export async function launchBrowser(): Promise<Browser> {
  const root = await unpackBrowser();
  return chromium.launch({
    executablePath: join(root, "chromium"),
    args: ["--disable-gpu", "--font-render-hinting=none", "--disable-lcd-text", "--force-color-profile=srgb"],
    env: {
      ...process.env,
      FONTCONFIG_FILE: join(root, "fonts.conf"),
      LD_LIBRARY_PATH: [join(root, "al2023/lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":"),
    },
  });
}
