/** What the user may name as a model: a file, an address, or a file of a Hugging Face repository. */
import { basename } from "node:path";
import { UsageError } from "./errors.ts";
import { type Environment, userPath } from "./host.ts";

export type ModelSource =
  | { kind: "file"; path: string; fileName: string }
  | { kind: "url"; url: string; fileName: string; headers: Record<string, string>; isHuggingFace: boolean };

const HF_ENDPOINT = "https://huggingface.co";
const HF_FORM = "hf:ORG/REPO/FILE.gguf";

/** @throws UsageError */
export function parseSource(text: string, env: Environment): ModelSource {
  if (text.startsWith("hf:")) return urlSource(huggingFaceUrl(text, env), env);
  if (/^https?:\/\//i.test(text)) return urlSource(text, env);
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(text)?.[1];
  if (scheme !== undefined) {
    throw new UsageError(`'${text}' has the scheme ${scheme}:; a file, https:// and ${HF_FORM} are possible.`);
  }
  return { kind: "file", path: userPath(text, env), fileName: basename(text) };
}

function huggingFaceUrl(text: string, env: Environment): string {
  const [org, repo, ...file] = text.slice("hf:".length).split("/");
  const isWhole = org && repo && file.length > 0 && file.every((part) => part !== "") && text.endsWith(".gguf");
  if (!isWhole) throw new UsageError(`'${text}' is not of the form ${HF_FORM}.`);
  const path = [org, repo, "resolve", "main", ...file].map(encodeURIComponent).join("/");
  return `${(env.HF_ENDPOINT ?? HF_ENDPOINT).replace(/\/+$/, "")}/${path}`;
}

function urlSource(text: string, env: Environment): ModelSource {
  const url = parseUrl(text);
  // The token belongs to this one host; fetch drops it when a redirect leads to another (fetch standard, 4.4).
  const isHuggingFace = url.origin === new URL(env.HF_ENDPOINT ?? HF_ENDPOINT).origin;
  const headers: Record<string, string> = {};
  if (isHuggingFace && env.HF_TOKEN) headers.authorization = `Bearer ${env.HF_TOKEN}`;
  const fileName = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
  return { kind: "url", url: url.href, fileName, headers, isHuggingFace };
}

function parseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new UsageError(`'${text}' is not a valid address.`);
  }
}
