/**
 * Servers for the edge tests to forward to, started in Node before workerd is: a scripted one, which the tests tell over
 * HTTP what to do next, and one that others wrote (aimock).
 */
import { LLMock } from "@copilotkit/aimock";
import type { TestProject } from "vitest/node";
import { upstreamServer } from "../support/upstream-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    upstreamUrl: string;
    thirdPartyUrl: string;
  }
}

export const THIRD_PARTY_ANSWER =
  "A river is water that goes somewhere, and it is older than its name: naïve, 東京, 🙂.";

export default async function start(project: TestProject): Promise<() => Promise<void>> {
  const scripted = await upstreamServer();
  const thirdParty = new LLMock({ port: 0, logLevel: "silent" });
  thirdParty.onMessage(/river/, { content: THIRD_PARTY_ANSWER });
  await thirdParty.start();
  project.provide("upstreamUrl", scripted.url);
  project.provide("thirdPartyUrl", thirdParty.url);
  return async () => {
    await scripted.close();
    await thirdParty.stop();
  };
}
