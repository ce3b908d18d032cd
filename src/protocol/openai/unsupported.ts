/**
 * Known fields that this server cannot honour. Unknown fields are ignored, as every compatible server does; these would
 * change the answer, so anything but their neutral value is a 400: better a clear refusal than a wrong answer.
 *
 * A field that becomes supported leaves this table and enters a schema.
 */
import { unsupportedParameter } from "../errors.ts";

export type Endpoint = "chat" | "completions" | "sessions";

interface UnsupportedField {
  field: string;
  /** Values that ask for nothing; null and absence always do. */
  neutral?: readonly unknown[];
  endpoints?: readonly Endpoint[];
}

const CHAT: readonly Endpoint[] = ["chat", "sessions"];
const SESSIONS: readonly Endpoint[] = ["sessions"];
const TEXT: readonly Endpoint[] = ["completions"];

const FIELDS: readonly UnsupportedField[] = [
  // A session's history has no calls and results.
  { field: "tools", endpoints: SESSIONS },
  { field: "tool_choice", neutral: ["none"], endpoints: SESSIONS },
  { field: "functions", endpoints: SESSIONS },
  { field: "function_call", neutral: ["none"], endpoints: SESSIONS },
  // Other media and services.
  { field: "modalities", neutral: [["text"]], endpoints: CHAT },
  { field: "audio", endpoints: CHAT },
  { field: "web_search_options", endpoints: CHAT },
  { field: "store", neutral: [false], endpoints: CHAT },
  // Search among candidates.
  { field: "use_beam_search", neutral: [false], endpoints: SESSIONS },
  { field: "best_of", neutral: [1], endpoints: SESSIONS },
  // What may be sampled, and when it ends.
  { field: "logits_processors", neutral: [[]] },
  { field: "include_stop_str_in_output", neutral: [false] },
  { field: "skip_special_tokens", neutral: [true] },
  // The prompt.
  { field: "suffix", neutral: [""], endpoints: TEXT },
  { field: "echo", neutral: [false], endpoints: CHAT },
  { field: "n", neutral: [1], endpoints: SESSIONS },
  { field: "prompt_logprobs" },
  { field: "truncate_prompt_tokens" },
  { field: "add_special_tokens", neutral: [false], endpoints: CHAT },
  { field: "add_special_tokens", neutral: [true], endpoints: TEXT },
  // A chat's go together, which its decoder checks.
  { field: "add_generation_prompt", neutral: [true], endpoints: SESSIONS },
  { field: "continue_final_message", neutral: [false], endpoints: SESSIONS },
  { field: "chat_template", endpoints: CHAT },
  { field: "chat_template_kwargs", neutral: [{}], endpoints: SESSIONS },
  { field: "documents", neutral: [[]], endpoints: SESSIONS },
  // The shape of the answer.
  { field: "return_token_ids", neutral: [false] },
  { field: "return_tokens_as_token_ids", neutral: [false] },
];

export function refuseUnsupported(body: object, endpoint: Endpoint): void {
  for (const { field, neutral = [], endpoints } of FIELDS) {
    if (endpoints !== undefined && !endpoints.includes(endpoint)) continue;
    const value: unknown = Object.hasOwn(body, field) ? (body as Record<string, unknown>)[field] : undefined;
    if (value === undefined || value === null || neutral.some((one) => isSame(one, value))) continue;
    throw unsupportedParameter(field, neutral);
  }
}

/** Equality of the small JSON values above. Compares sizes first, so that a client's large value costs nothing. */
function isSame(neutral: unknown, value: unknown): boolean {
  if (typeof neutral !== "object" || neutral === null) return neutral === value;
  if (typeof value !== "object" || value === null || Array.isArray(neutral) !== Array.isArray(value)) return false;
  const keys = Object.keys(neutral);
  return (
    Object.keys(value).length === keys.length &&
    keys.every((key) => isSame((neutral as Record<string, unknown>)[key], (value as Record<string, unknown>)[key]))
  );
}
