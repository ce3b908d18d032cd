/** Formats as patterns. Narrower than their standards where those are not regular, so that only valid values come. */

const HOUR = "(?:[01][0-9]|2[0-3])";
const TIME = `${HOUR}:[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-]${HOUR}:[0-5][0-9])`;

const LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
const DATE =
  `(?:${LEAP_YEAR}-02-29|[0-9]{4}-(?:02-(?:0[1-9]|1[0-9]|2[0-8])|` +
  "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])))";

const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?";
const HOST = `${LABEL}(?:\\.${LABEL}){0,3}`;
const ATOM = "[A-Za-z0-9_+-]{1,20}";

const BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
const GROUP = "[0-9a-fA-F]{1,4}";

/** All eight groups, or a `::` behind some of them and up to what is left of seven. */
function ipv6(): string {
  const short = Array.from({ length: 8 }, (_, num) => {
    const head = num === 0 ? ":" : `(?:${GROUP}:){${num}}`;
    const numMore = 7 - num;
    return numMore === 0 ? `${head}:` : `${head}(?::|(?::${GROUP}){1,${numMore}})`;
  });
  return `(?:(?:${GROUP}:){7}${GROUP}|${short.join("|")})`;
}

const PATH_CHARACTER = "(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})";
const URI =
  `https?://${HOST}(?::[1-9][0-9]{0,3})?(?:/${PATH_CHARACTER}{0,80}){0,16}` +
  `(?:\\?(?:${PATH_CHARACTER}|[=&]){0,200})?(?:#${PATH_CHARACTER}{0,80})?`;

const COUNT = "[0-9]{1,4}";
const DURATION =
  `P(?:${COUNT}W|(?:${COUNT}Y(?:${COUNT}M)?(?:${COUNT}D)?|${COUNT}M(?:${COUNT}D)?|${COUNT}D)` +
  `(?:T${COUNT}H(?:${COUNT}M)?(?:${COUNT}S)?)?|T(?:${COUNT}H(?:${COUNT}M)?(?:${COUNT}S)?|${COUNT}M(?:${COUNT}S)?|${COUNT}S))`;

const PATTERNS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  duration: DURATION,
  email: `${ATOM}(?:\\.${ATOM}){0,3}@(?:${LABEL}\\.){1,3}[A-Za-z]{2,18}`,
  uuid: "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}",
  uri: URI,
  hostname: HOST,
  ipv4: IPV4,
  ipv6: ipv6(),
};

/** Names that promise something that is not written here. */
const REFUSED = [
  ...["uri-reference", "iri", "iri-reference", "uri-template", "idn-email", "idn-hostname"],
  ...["json-pointer", "relative-json-pointer", "regex"],
];

/** @returns null for a format that is not known */
export function formatPattern(format: string): string | null {
  const pattern = Object.hasOwn(PATTERNS, format) ? PATTERNS[format] : undefined;
  return pattern === undefined ? null : `^(?:${pattern})$`;
}

export function isRefusedFormat(format: string): boolean {
  return REFUSED.includes(format);
}
