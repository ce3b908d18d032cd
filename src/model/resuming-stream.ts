/**
 * A stream that survives its connection: when the source fails or ends early, it is opened again where it broke off.
 * Bytes are never skipped, repeated or mixed between versions; `reopen` must refuse a source that changed.
 */
import { type ChunkReader, chunkReader } from "./chunk-reader.ts";
import { ModelError } from "./errors.ts";

export interface RetryPolicy {
  /** Failures in a row, without a byte between them, before giving up. */
  failuresMax: number;
  /** Before the first retry; doubled for each failure in a row. */
  firstDelayMs: number;
  wait(ms: number): Promise<void>;
}

export const DEFAULT_RETRY: RetryPolicy = {
  failuresMax: 4,
  firstDelayMs: 250,
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

export interface Resumable {
  /** For messages. */
  name: string;
  /** Opens at an offset. A `ModelError` it throws is final; anything else is tried again. */
  openAt(offsetBytes: number): Promise<ReadableStream<Uint8Array>>;
  /** Known once it is open; null = the end cannot be told from a cut. */
  sizeBytes(): number | null;
}

/** @returns the bytes from `offsetBytes` on; rejects with ModelError `unreadable` when retrying does not help */
export async function openResuming(
  source: Resumable,
  offsetBytes: number,
  retry: RetryPolicy,
): Promise<ReadableStream<Uint8Array>> {
  const state = new ResumingReader(source, offsetBytes, retry);
  await state.connect();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = await state.read();
      if (chunk === null) controller.close();
      else controller.enqueue(chunk);
    },
    cancel: () => state.cancel(),
  });
}

class ResumingReader {
  readonly #source: Resumable;
  readonly #retry: RetryPolicy;
  #offsetBytes: number;
  #reader: ChunkReader | null = null;
  #numFailures = 0;
  #isCancelled = false;

  constructor(source: Resumable, offsetBytes: number, retry: RetryPolicy) {
    this.#source = source;
    this.#offsetBytes = offsetBytes;
    this.#retry = retry;
  }

  /** Opens the source at the current offset, again and again within the policy. */
  async connect(): Promise<ChunkReader> {
    for (;;) {
      try {
        this.#reader = chunkReader(await this.#source.openAt(this.#offsetBytes));
        return this.#reader;
      } catch (cause) {
        await this.#failed(cause);
      }
    }
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const reader = this.#reader ?? (await this.connect());
      try {
        const chunk = await reader.read();
        if (chunk !== null) {
          this.#offsetBytes += chunk.length;
          this.#numFailures = 0;
          return chunk;
        }
        const sizeBytes = this.#source.sizeBytes();
        if (sizeBytes === null || this.#offsetBytes >= sizeBytes) return null;
        throw new Error(`the connection closed after ${this.#offsetBytes} of ${sizeBytes} bytes`);
      } catch (cause) {
        this.#reader = null;
        await reader.cancel();
        await this.#failed(cause);
      }
    }
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true;
    await this.#reader?.cancel();
  }

  /** Waits before the next attempt, or gives up. */
  async #failed(cause: unknown): Promise<void> {
    if (cause instanceof ModelError || this.#isCancelled) throw cause;
    this.#numFailures++;
    if (this.#numFailures >= this.#retry.failuresMax) {
      const sizeBytes = this.#source.sizeBytes();
      const where = `at byte ${this.#offsetBytes}${sizeBytes === null ? "" : ` of ${sizeBytes}`}`;
      throw new ModelError(
        "unreadable",
        `${this.#source.name} could not be read ${where}, ${this.#numFailures} times in a row: ${describe(cause)}.`,
        { cause },
      );
    }
    await this.#retry.wait(this.#retry.firstDelayMs * 2 ** (this.#numFailures - 1));
    // Nobody reads any more: no new connection.
    if (this.#isCancelled) throw cause;
  }
}

/** fetch hides the reason ("ECONNREFUSED …") in the cause of a "fetch failed". */
function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? `${cause.message} (${cause.cause.message})` : cause.message;
}
