/// <reference types="@cloudflare/vitest-plugin/types" />
/** What `env` and `exports` of `cloudflare:workers` are in the tests: the Worker's own. */
declare namespace Cloudflare {
  interface Env extends RunnelEnv {}
  interface GlobalProps {
    mainModule: typeof import("../../src/edge/worker.ts");
  }
}

type RunnelEnv = import("../../src/edge/env.ts").Env;
