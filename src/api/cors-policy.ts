/**
 * Which web pages may use the server, as patterns of origins: `https://app.example.com`, `https://*.example.com`,
 * `http://localhost:*`, or `*` for all. A star stands for one or more labels of a host, or for any port, or for none.
 */

/** "any" = every page may read, none sends credentials of its browser. Otherwise: may pages of this origin? */
export type CorsPolicy = "any" | ((origin: string) => boolean);

/** Pages of this machine: what a person develops or runs here. */
export const LOOPBACK_ORIGINS: readonly string[] = [
  "http://localhost:*",
  "https://localhost:*",
  "http://*.localhost:*",
  "http://127.0.0.1:*",
  "https://127.0.0.1:*",
  "http://[::1]:*",
  "https://[::1]:*",
];

const PATTERN = /^([a-z][a-z0-9+.-]*):\/\/((?:\*\.)?[a-z0-9.-]+|\[[0-9a-f:]+\])(:(?:\d{1,5}|\*))?$/;

/** @throws Error for what is no pattern */
export function corsPolicy(patterns: readonly string[]): CorsPolicy {
  if (patterns.includes("*")) return "any";
  const matchers = patterns.map(matcherOf);
  return (origin) => matchers.some((matches) => matches.test(origin.toLowerCase()));
}

/** Of a list with commas or spaces between. */
export function parseOrigins(list: string): string[] {
  return list.split(/[\s,]+/).filter((pattern) => pattern !== "");
}

function matcherOf(pattern: string): RegExp {
  const parts = PATTERN.exec(pattern.toLowerCase());
  if (parts === null) {
    throw new Error(
      `CORS_ORIGINS has '${pattern.slice(0, 100)}'; it must be *, or an origin such as https://app.example.com, ` +
        "https://*.example.com or http://localhost:* (without a path).",
    );
  }
  const [, scheme, host, port = ""] = parts;
  const anyHost = host!.startsWith("*.") ? "([a-z0-9-]+\\.)+" : "";
  const anyPort = port === ":*" ? "(:\\d{1,5})?" : literal(port);
  return new RegExp(`^${literal(scheme!)}://${anyHost}${literal(host!.replace(/^\*\./, ""))}${anyPort}$`);
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
