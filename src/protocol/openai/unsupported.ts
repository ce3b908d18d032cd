/**
 * Known fields that this server cannot honour. Unknown fields are ignored, as every compatible server does; these would
 * change the answer, so anything but their neutral value is a 400: better a clear refusal than a wrong answer.
 *
 * A field that becomes supported leaves this table and enters a schema.
 */
import { type RefusedField, refuseFields } from "../refused-fields.ts";

export type Endpoint = "chat" | "completions" | "sessions" | "responses";

interface UnsupportedField extends RefusedField {
  endpoints?: readonly Endpoint[];
}

const CHAT: readonly Endpoint[] = ["chat", "sessions"];
const SESSIONS: readonly Endpoint[] = ["sessions"];
const TEXT: readonly Endpoint[] = ["completions"];
const ONE_ANSWER: readonly Endpoint[] = ["sessions", "responses"];
const RESPONSES: readonly Endpoint[] = ["responses"];

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
  // Services of OpenAI's that a response may ask for.
  { field: "background", neutral: [false], endpoints: RESPONSES },
  { field: "conversation", endpoints: RESPONSES },
  { field: "prompt", endpoints: RESPONSES },
  { field: "context_management", endpoints: RESPONSES },
  // Search among candidates.
  { field: "use_beam_search", neutral: [false], endpoints: ONE_ANSWER },
  { field: "best_of", neutral: [1], endpoints: ONE_ANSWER },
  // What may be sampled, and when it ends.
  { field: "logits_processors", neutral: [[]] },
  { field: "include_stop_str_in_output", neutral: [false] },
  { field: "skip_special_tokens", neutral: [true] },
  // The prompt.
  { field: "suffix", neutral: [""], endpoints: TEXT },
  { field: "echo", neutral: [false], endpoints: CHAT },
  { field: "n", neutral: [1], endpoints: ONE_ANSWER },
  { field: "prompt_logprobs" },
  { field: "truncate_prompt_tokens" },
  { field: "add_special_tokens", neutral: [false], endpoints: CHAT },
  { field: "add_special_tokens", neutral: [true], endpoints: TEXT },
  // A chat's go together, which its decoder checks.
  { field: "add_generation_prompt", neutral: [true], endpoints: ONE_ANSWER },
  { field: "continue_final_message", neutral: [false], endpoints: ONE_ANSWER },
  { field: "chat_template", endpoints: CHAT },
  { field: "chat_template_kwargs", neutral: [{}], endpoints: SESSIONS },
  { field: "documents", neutral: [[]], endpoints: SESSIONS },
  // The shape of the answer.
  { field: "return_token_ids", neutral: [false] },
  { field: "return_tokens_as_token_ids", neutral: [false] },
];

export function refuseUnsupported(body: object, endpoint: Endpoint): void {
  refuseFields(
    body,
    FIELDS.filter(({ endpoints }) => endpoints === undefined || endpoints.includes(endpoint)),
  );
}
