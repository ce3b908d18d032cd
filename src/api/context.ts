/** What every route works with. */
import type { Context } from "hono";
import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";
import type { ModelNames } from "./model-names.ts";
import type { ModelService, SessionService } from "./model-service.ts";
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
  /** Who may use the API (`API_PATHS`). Absent = everybody. @throws ApiError 401 */
  authorize?: (request: Request) => void;
}

export interface ApiEnv {
  Variables: {
    /** In the `x-request-id` header, in errors and in logs. A client may choose it, so it is no key for anything. */
    requestId: string;
    /** Pattern of the matched route, for logs. */
    route: string;
  };
}

export type ApiContext = Context<ApiEnv>;

export type ApiHandler = (context: ApiContext) => Response | Promise<Response>;
