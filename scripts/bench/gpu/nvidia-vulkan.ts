/**
 * NVIDIA's Vulkan driver in a bare Debian or Ubuntu container. What goes wrong there, in the order in which it does: the
 * container was started without the driver's graphics part (NVIDIA_DRIVER_CAPABILITIES), no JSON file tells Vulkan's loader
 * of it, or the one that does names libGLX_nvidia.so.0, which wants X11 libraries that a container lacks. For the last two a
 * file of our own is enough, which names libEGL_nvidia.so.0.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const MANIFEST_FOLDERS = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/nvidia/lib64",
];
const EGL = "libEGL_nvidia.so.0";
const GLX = "libGLX_nvidia.so.0";
/** What `GLX` needs besides the driver. */
const X11 = ["libX11.so.6", "libXext.so.6"];

export interface VulkanFinding {
  /** Nodes of the GPU itself. */
  hasDevice: boolean;
  capabilities: string | null;
  /** Libraries by name, with where they are. */
  libraries: Record<string, string>;
  /** NVIDIA's manifests, with the library that each names. */
  manifests: { path: string; library: string }[];
}

export interface VulkanAdvice {
  /** Content of the file that is to be written and named in VK_DRIVER_FILES; null = not needed, or of no use. */
  manifest: string | null;
  /** For people: what was found, and what they have to do. */
  lines: string[];
  /** Can Vulkan find the GPU, with that file? */
  isUsable: boolean;
}

/** @param root "/" but in tests */
export function inspectVulkan(root: string, env: NodeJS.ProcessEnv): VulkanFinding {
  const at = (path: string) => join(root, path);
  const libraries: Record<string, string> = {};
  for (const name of [EGL, GLX, "libvulkan.so.1", ...X11]) {
    const folder = LIBRARY_FOLDERS.find((one) => existsSync(at(join(one, name))));
    if (folder !== undefined) libraries[name] = join(folder, name);
  }
  const manifests = MANIFEST_FOLDERS.flatMap((folder) => {
    if (!existsSync(at(folder))) return [];
    const names = readdirSync(at(folder)).filter((name) => /nvidia.*\.json$/i.test(name));
    return names.flatMap((name) => {
      const library = libraryOf(readFileSync(at(join(folder, name)), "utf8"));
      return library === null ? [] : [{ path: join(folder, name), library }];
    });
  });
  return {
    hasDevice: existsSync(at("/dev/nvidiactl")) || existsSync(at("/dev/dxg")),
    capabilities: env.NVIDIA_DRIVER_CAPABILITIES ?? null,
    libraries,
    manifests,
  };
}

function libraryOf(json: string): string | null {
  try {
    return (JSON.parse(json) as { ICD?: { library_path?: string } }).ICD?.library_path ?? null;
  } catch {
    return null;
  }
}

export function adviseVulkan({ hasDevice, capabilities, libraries, manifests }: VulkanFinding): VulkanAdvice {
  const lines: string[] = [];
  if (!hasDevice) {
    lines.push("No NVIDIA device is here (/dev/nvidiactl). Start the container with --gpus all, or --runtime=nvidia.");
    return { manifest: null, lines, isUsable: false };
  }
  if (libraries["libvulkan.so.1"] === undefined) {
    lines.push("Vulkan's loader is missing: apt-get install --no-install-recommends libvulkan1.");
  }
  const egl = libraries[EGL];
  const working = manifests.find(({ library }) => loads(library, libraries));
  if (egl === undefined && working === undefined) {
    const has = capabilities === null ? "not set" : `'${capabilities}'`;
    lines.push(
      `The driver's ${EGL} is missing: NVIDIA_DRIVER_CAPABILITIES is ${has}. Start the container with ` +
        "NVIDIA_DRIVER_CAPABILITIES=graphics,compute,utility (or all); inside, nothing can mend it.",
    );
    return { manifest: null, lines, isUsable: false };
  }
  const isUsable = libraries["libvulkan.so.1"] !== undefined;
  if (working !== undefined) {
    lines.push(`${working.path} names ${working.library}: nothing has to be done.`);
    return { manifest: null, lines, isUsable };
  }
  const [broken] = manifests;
  lines.push(
    broken === undefined
      ? "No manifest tells Vulkan of NVIDIA's driver; a private one does."
      : `${broken.path} names ${broken.library}, which cannot be loaded here; a private manifest names ${EGL}.`,
  );
  const manifest = { file_format_version: "1.0.1", ICD: { library_path: egl, api_version: "1.3.277" } };
  return { manifest: `${JSON.stringify(manifest, null, 2)}\n`, lines, isUsable };
}

/** Is the library there, with what it needs? */
function loads(library: string, libraries: Record<string, string>): boolean {
  const name = library.split("/").at(-1)!;
  const isThere = libraries[name] !== undefined;
  return isThere && (name !== GLX || X11.every((needed) => libraries[needed] !== undefined));
}

/** Both names of the loader's variable: older ones know the second only. */
export function manifestVariables(path: string): Record<string, string> {
  return { VK_DRIVER_FILES: path, VK_ICD_FILENAMES: path };
}
