/** The origins of the edge tests. Each model stands for one kind of arrangement. */

/** Must show up nowhere but at the upstream. */
export const ORIGIN_KEY = "sk-edge-test-secret-key";

/** Longer than a busy machine needs for a byte, shorter than a test waits. */
const BETWEEN_BYTES_MS = 1_500;

/** @param upstreamUrl of the scripted server @param thirdPartyUrl of the one that others wrote */
export function testOrigins(upstreamUrl: string, thirdPartyUrl: string): object[] {
  const scripted = (name: string, models: object[], more: object = {}) => ({
    name,
    url: `${upstreamUrl}/${name}/v1`,
    keySecret: "ORIGIN_KEY",
    betweenBytesMs: BETWEEN_BYTES_MS,
    models,
    ...more,
  });
  return [
    // Two equals.
    scripted("left", [{ id: "pair", contextLength: 8192, description: "Two origins." }]),
    scripted("right", [{ id: "pair", contextLength: 4096 }]),
    // One of each kind.
    scripted("plain", [{ id: "plain-big", upstream: "org/Plain" }]),
    scripted("vllm", [{ id: "vllm-big" }], { kind: "vllm" }),
    // One that an edge model stands in for.
    scripted("shaky", [{ id: "shaky-big", fallback: "stand-in" }]),
    { name: "third-party", url: thirdPartyUrl, models: [{ id: "third-party-big" }] },
    { name: "cloud", kind: "workers-ai", models: [{ id: "cloud-big", upstream: "@cf/meta/big" }] },
  ];
}
