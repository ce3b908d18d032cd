/** The Worker's bindings and variables, as `wrangler.toml` names them. */
import type { ChatSession } from "./chat-session.ts";
import type { EngineLane } from "./engine-lane.ts";
import type { RateLimiter } from "./limits/rate-limiter.ts";
import type { MetricsHub } from "./metrics/metrics-hub.ts";
import type { WorkersAi } from "./origins/workers-ai.ts";
import type { ResponseConversation } from "./response-conversation.ts";
import type { SessionDirectory } from "./session-directory.ts";

export interface Env {
  /** `public/`: the chat page and the demo model. */
  ASSETS: Fetcher;
  /** Models added by `npm run model -- add`. */
  MODELS: R2Bucket;
  /** One object for each conversation, named by the session's id. */
  CHAT_SESSION: DurableObjectNamespace<ChatSession>;
  /** A few objects that answer stateless requests, named by number. */
  ENGINE_LANE: DurableObjectNamespace<EngineLane>;
  /** One object for each owner, named by the owner's id: the list of their sessions. */
  SESSION_DIRECTORY: DurableObjectNamespace<SessionDirectory>;
  /** One object for the responses of each conversation, named by what their ids have in common. */
  RESPONSE_CONVERSATION: DurableObjectNamespace<ResponseConversation>;
  /** One object for each API key with limits, named by the key's id. */
  RATE_LIMITER: DurableObjectNamespace<RateLimiter>;
  /** One object: the metrics of all isolates. */
  METRICS_HUB: DurableObjectNamespace<MetricsHub>;
  /** Secret: JSON list of API keys (hashes), as `npm run keys` writes it; unset = none, and the Worker answers on localhost. */
  API_KEYS?: string;
  /** "1" = without API keys, everybody may use the Worker, not only this machine. */
  OPEN?: string;
  /** Origins whose pages may use the API (`api/cors-policy.ts`), "*" for all; unset = all with API keys, loopback without. */
  CORS_ORIGINS?: string;
  /** Secret: who sends it as a Bearer token may read `/metrics`; API keys may, too. */
  METRICS_TOKEN?: string;
  /** "1" = text of prompts goes into the log. */
  LOG_PROMPTS?: string;
  /** Model that answers where the caller names none; unset = the demo. */
  DEFAULT_MODEL?: string;
  /** Other names of models, as a JSON object of name to id; unset = none. */
  MODEL_ALIASES?: string | Readonly<Record<string, string>>;
  /** Model that answers for names that nobody knows; unset = they are a 404. */
  MODEL_FALLBACK?: string;
  /** Bytes an isolate may hold, JS heap and linear memory together; unset = `ISOLATE_BUDGET_BYTES`. */
  MEMORY_BUDGET_BYTES?: string;
  /** Drafts of a decode: "off", "auto", or the most of them as a number; unset = "auto". */
  SPECULATION?: string;
  /** Of the KV cache: "f32", "f16", "i16", "q8" or "auto"; unset = "auto", i16 where enough of it fits, else q8. */
  KV_PRECISION?: string;
  /** Days for which an unused session keeps its KV cache in storage, its history stays; 0 = none is kept; unset = 7. */
  SESSION_KV_DAYS?: string;
  /** CPU time that a session's answer may use of one invocation before it goes on in another; unset = 20000. */
  TURN_CPU_MS?: string;
  /** Servers that answer for models which do not fit an isolate (`origins/config.ts`); unset = none. */
  ORIGINS?: string | readonly unknown[];
  /** Workers AI, for origins of that kind. Secrets that `keySecret` names are bindings, too. */
  AI?: WorkersAi;
}
