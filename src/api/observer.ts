/** What a host hears of requests, to count and measure them. Nothing here may throw or wait. */
import type { GenerationSummary } from "./request-meter.ts";

export interface EndedRequest {
  /** Pattern of the matched route. */
  route: string;
  status: number;
  /** A model that exists; null where none answered. */
  model: string | null;
}

export interface RequestObserver {
  betweenTokens(model: string, tier: string | null, gapMs: number): void;
  generationEnded(summary: GenerationSummary): void;
  requestEnded(request: EndedRequest): void;
  /** After the end of a request, with the answer sent: time to pass on what was counted. */
  flush(): Promise<void>;
}
