/** Telling the scripted server what to do next, and asking it what it saw, from inside workerd. */
import { env } from "cloudflare:workers";
import { inject } from "vitest";
import { originPool } from "../../../src/edge/origins/origin-pool.ts";
import type { SeenCall, UpstreamReply } from "../../support/upstream-server.ts";

/** Replies to be given once each, before the usual ones; forgets what was seen. */
export async function script(origin: string, ...replies: UpstreamReply[]): Promise<void> {
  const response = await fetch(`${inject("upstreamUrl")}/${origin}/script`, {
    method: "POST",
    body: JSON.stringify(replies),
  });
  await response.text();
}

export async function callsTo(origin: string): Promise<SeenCall[]> {
  const response = await fetch(`${inject("upstreamUrl")}/${origin}/calls`);
  return (await response.json()) as SeenCall[];
}

/** The last call, once its connection has come to an end. */
export async function endedCall(origin: string): Promise<SeenCall> {
  for (;;) {
    const call = (await callsTo(origin)).at(-1);
    if (call !== undefined && call.state !== "open") return call;
    await scheduler.wait(5);
  }
}

/** Every origin says its usual, and what earlier tests have taught about the origins is forgotten. */
export async function resetOrigins(): Promise<void> {
  for (const name of ["left", "right", "plain", "vllm", "shaky"]) await script(name);
  for (const { places } of originPool.models(env)) {
    for (const { origin } of places) {
      origin.breaker.completed();
      origin.restUntilMs = 0;
    }
  }
}
