/** What every route works with. */
import type { Context } from "hono";
import type { Caller } from "./caller.ts";
import type { Clock } from "./clock.ts";
import type { CorsPolicy } from "./cors-policy.ts";
import type { Log } from "./log.ts";
import type { ModelNames } from "./model-names.ts";
import type { ModelService, SessionService } from "./model-service.ts";
import type { RequestObserver } from "./observer.ts";
import type { RateLimits } from "./rate-limits.ts";
import type { RequestMeter } from "./request-meter.ts";
import type { ResponseService } from "./response-service.ts";

export interface ApiOptions {
  models: ModelService;
  /** null = a host without sessions: their routes do not exist. */
  sessions: SessionService | null;
  /** Absent or null = a host that keeps no responses: each is answered and forgotten. */
  responses?: ResponseService | null;
  clock: Clock;
  /** At least 128 random bits in [0-9A-Za-z_-], as `randomHexId` makes them. */
  randomId: () => string;
  log: Log;
  /** What clients may call models besides their ids. Absent = nothing. */
  names?: ModelNames;
  /** Who asks? Of every route but the few that are open to all (`app.ts`). Absent = anybody. @throws ApiError 401 */
  authorize?: (request: Request) => Caller | Promise<Caller>;
  /** Absent = there are none. */
  limits?: RateLimits;
  /** Whose pages may ask; absent = all. */
  cors?: CorsPolicy;
  /** Absent = nobody counts. */
  observer?: RequestObserver;
  /** Text of prompts goes into the log. */
  logsPrompts?: boolean;
}

export interface ApiEnv {
  Variables: {
    /** In the `x-request-id` header, in errors and in logs. A client may choose it, so it is no key for anything. */
    requestId: string;
    /** Pattern of the matched route, for logs. */
    route: string;
    /** By the clock of `ApiOptions`. */
    arrivedAtMs: number;
    caller: Caller;
    /** The caller was let in. */
    isAdmitted: boolean;
    /** Of the generation, once there is one. */
    meter: RequestMeter | null;
    /** What is left of the caller's limits. */
    grantHeaders: Record<string, string>;
    loggedPrompt: string | null;
  };
}

export type ApiContext = Context<ApiEnv>;

export type ApiHandler = (context: ApiContext) => Response | Promise<Response>;
