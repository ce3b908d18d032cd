/** An OpenAI-compatible server over HTTP. A redirect is refused: the key must not go where nobody configured. */
import type { OriginConfig } from "./config.ts";
import { hider } from "./hidden-text.ts";
import type { Upstream } from "./upstream.ts";

export function httpUpstream(origin: OriginConfig, key: string | null, fetchFrom: typeof fetch): Upstream {
  const authorization: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  const { host, hostname } = new URL(origin.url);
  return {
    send: ({ path, body }, requestId, signal) =>
      fetchFrom(`${origin.url}/${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "text/event-stream",
          "x-request-id": requestId,
          ...authorization,
        },
        body: JSON.stringify(body),
        redirect: "manual",
        signal,
      }),
    /** Every such server lists its models. What it says does not matter: it says something, and is not overloaded. */
    probe: async (signal) => {
      const response = await fetchFrom(`${origin.url}/models`, { headers: authorization, redirect: "manual", signal });
      await response.body?.cancel();
      return response.status < 500 && response.status !== 429;
    },
    hide: hider([key ?? "", origin.url, host, hostname]),
  };
}
