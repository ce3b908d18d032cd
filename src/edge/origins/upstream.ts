/** The way to an origin for one request: I/O belongs to whoever starts it, so none is kept between requests. */
import type { UpstreamCall } from "../../protocol/openai/upstream-request.ts";

export interface Upstream {
  /** Gives the head of the response; any rejection means that there is none. */
  send(call: UpstreamCall, requestId: string, signal: AbortSignal): Promise<Response>;
  /** Is it there? Costs it next to nothing. null = there is nothing to ask. */
  readonly probe: ((signal: AbortSignal) => Promise<boolean>) | null;
  /** Takes its address and key out of a text. */
  hide(text: string): string;
}
