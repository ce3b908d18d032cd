/** A session as the API shows it: plain data, so that it may cross an RPC border unchanged. */

export interface SessionSummary {
  id: string;
  title: string;
  model: string;
  /** Unix milliseconds. */
  createdAtMs: number;
  updatedAtMs: number;
  numMessages: number;
}

export interface SessionMessage {
  id: number;
  role: "system" | "user" | "assistant";
  content: string;
  createdAtMs: number;
  /** Of an assistant message: "stop", "length", "abort" (stopped, or cut by a fault: what was generated is kept),
   * "pending" while it is being generated; null otherwise. */
  finishReason: string | null;
}

export interface SessionInfo extends SessionSummary {
  messages: SessionMessage[];
  /** An answer is being generated right now. */
  busy: boolean;
  /** Messages that the last answer was made without, since all would not have fitted the context. */
  numTruncated: number;
}
