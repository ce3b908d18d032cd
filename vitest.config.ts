/**
 * Projects: `unit` runs in Node (pure core, WASM engine, scripts), `edge` runs inside workerd with the real wrangler
 * configuration, open to all, and `edge-operator` with API keys. End-to-end tests (real server, real browser) are part of
 * `unit`'s runner but live apart, and so do those of client packages, which share one server.
 */
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { ORIGIN_KEY, testOrigins } from "./test/edge/origin-config.ts";
import { METRICS_TOKEN, testKeys } from "./test/edge-operator/key-config.ts";

export default defineConfig({
  test: {
    // The Worker logs every request; only what a failing test logged is worth reading.
    silent: "passed-only",
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "clients",
          include: ["test/e2e/clients/*.test.ts"],
          globalSetup: ["test/e2e/clients/server.ts"],
          testTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        // Where the plugin looks for .wasm files; it does not take the workspace's own root.
        root: import.meta.dirname,
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                // The tests ask by a name that is not this machine's, and whatever keys its `.dev.vars` has.
                OPEN: "1",
                // Pages of any site are let in: the tests say what protects a browser's user then.
                CORS_ORIGINS: "*",
                API_KEYS: "[]",
                // Half of the real one, so that small files can be too large.
                MEMORY_BUDGET_BYTES: "64000000",
                ORIGINS: JSON.stringify(testOrigins(inject("upstreamUrl"), inject("thirdPartyUrl"))),
                ORIGIN_KEY,
              },
            },
          })),
        ],
        test: {
          name: "edge",
          include: ["test/edge/**/*.test.ts"],
          globalSetup: ["test/edge/upstreams.ts"],
          testTimeout: 60_000,
        },
      },
      {
        root: import.meta.dirname,
        plugins: [
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: {
                MEMORY_BUDGET_BYTES: "64000000",
                ORIGINS: JSON.stringify(testOrigins(inject("upstreamUrl"), inject("thirdPartyUrl"))),
                ORIGIN_KEY,
                API_KEYS: JSON.stringify(testKeys()),
                CORS_ORIGINS: "https://app.example.com, http://localhost:*",
                METRICS_TOKEN,
              },
            },
          })),
        ],
        test: {
          name: "edge-operator",
          include: ["test/edge-operator/**/*.test.ts"],
          globalSetup: ["test/edge/upstreams.ts"],
          testTimeout: 60_000,
        },
      },
    ],
  },
});
