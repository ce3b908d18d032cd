/** Requests with one of the tests' API keys, through the Worker's front door. */
import { post, request } from "../edge/stack.ts";
import { type KeyName, keyText } from "./key-config.ts";

export function bearer(name: KeyName): Record<string, string> {
  return { authorization: `Bearer ${keyText(name)}` };
}

export function getAs(name: KeyName, path: string, headers: Record<string, string> = {}): Promise<Response> {
  return request(path, { headers: { ...bearer(name), ...headers } });
}

export function postAs(
  name: KeyName,
  path: string,
  body: unknown,
  { method = "POST", headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  return post(path, body, { method, headers: { "content-type": "application/json", ...bearer(name), ...headers } });
}

export async function sessionAs(name: KeyName, model: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await postAs(name, "/v1/sessions", { model }, { headers });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return ((await response.json()) as { id: string }).id;
}
