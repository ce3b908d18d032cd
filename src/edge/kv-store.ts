/**
 * The KV blocks of a conversation in the SQLite storage of its Durable Object: one row a block, in the chain's order.
 *
 * Invariants:
 *  - all rows are of one fingerprint; those of another engine or model are dropped before the first new one is written;
 *  - a row is replaced where the conversation took another turn, and what lies behind its end is cut off;
 *  - a row stays under the platform's 2 MB and a session under `SESSION_KV_BYTES_MAX`: its first blocks are kept,
 *    because a block is worth nothing without all those before it;
 *  - nothing in here is needed: whatever is missing or damaged is computed again.
 */
import type { KvSink, KvSource } from "../serving/kv-archive.ts";
import { type KvRow, openRow, sealRow } from "./kv-snapshot.ts";
import { ROW_BYTES_MAX } from "./session-store.ts";

/**
 * Twice the context of the largest models that fit an isolate (SmolLM2-135M: 25 MB for 2,048 tokens in q8), at about a
 * cent a month ($0.20 a GB-month).
 */
export const SESSION_KV_BYTES_MAX = 64_000_000;

/** Of one transaction. Streams of other sessions wait while blocks are copied, summed and inserted: some 10 ms. */
const SAVE_BYTES_MAX = 2_000_000;

export class KvStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
  }

  /** What is kept under this fingerprint; null = nothing. A damaged row is dropped with all behind it when it is read. */
  open(fingerprint: string): KvSource | null {
    return this.#header()?.fingerprint === fingerprint ? new KvReader(this.#sql, fingerprint) : null;
  }

  /**
   * One transaction of new blocks.
   * @param write writes what the archive lacks, and says how many blocks it has then; null = could not look
   * @returns true when there is more to write: call again, after others had their turn
   */
  save(fingerprint: string, expiresAtMs: number, write: (archive: KvSink) => number | null): boolean {
    return this.#storage.transactionSync(() => {
      this.#reset(fingerprint, expiresAtMs);
      const writer = new KvWriter(this.#sql, fingerprint);
      const numKept = write(writer);
      if (writer.isPaused) return true;
      if (numKept !== null) this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", numKept);
      return false;
    });
  }

  /** null = nothing is kept. */
  get expiresAtMs(): number | null {
    return this.#header()?.expiresAtMs ?? null;
  }

  /** Drops what nobody used for too long. */
  expire(nowMs: number): void {
    if ((this.expiresAtMs ?? 0) > nowMs) return;
    this.#sql.exec("DROP TABLE IF EXISTS kv_block; DROP TABLE IF EXISTS kv_snapshot");
  }

  /** Makes the tables ready for blocks of this fingerprint, and for no others. */
  #reset(fingerprint: string, expiresAtMs: number): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS kv_snapshot (fingerprint TEXT NOT NULL, expires_at_ms INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS kv_block (
        block_index INTEGER PRIMARY KEY, hash TEXT NOT NULL, checksum TEXT NOT NULL,
        tokens BLOB NOT NULL, bytes BLOB NOT NULL
      ) STRICT;
    `);
    if (this.#header()?.fingerprint !== fingerprint) this.#sql.exec("DELETE FROM kv_block");
    this.#sql.exec("DELETE FROM kv_snapshot");
    this.#sql.exec("INSERT INTO kv_snapshot VALUES (?, ?)", fingerprint, expiresAtMs);
  }

  #header(): { fingerprint: string; expiresAtMs: number } | null {
    const isThere = this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'kv_snapshot'").toArray().length > 0;
    const row = isThere ? this.#sql.exec("SELECT fingerprint, expires_at_ms FROM kv_snapshot").toArray()[0] : undefined;
    if (row === undefined) return null;
    return { fingerprint: row.fingerprint as string, expiresAtMs: row.expires_at_ms as number };
  }
}

/** Reads ahead of nobody: a row leaves SQLite when its block is asked for, all rows in one statement. */
class KvReader implements KvSource {
  readonly #sql: SqlStorage;
  readonly #fingerprint: string;
  #rows: IterableIterator<SqlStorageValue[]> | null = null;

  constructor(sql: SqlStorage, fingerprint: string) {
    this.#sql = sql;
    this.#fingerprint = fingerprint;
  }

  read(index: number, hash: string, tokens: Int32Array<ArrayBuffer>): Uint8Array | null {
    this.#rows ??= this.#sql
      .exec(
        "SELECT block_index, hash, checksum, tokens, bytes FROM kv_block WHERE block_index >= ? ORDER BY block_index",
        index,
      )
      .raw();
    const { value } = this.#rows.next();
    if (value === undefined) return null;
    const [keptIndex, keptHash, checksum, ids, content] = value as [number, string, string, ArrayBuffer, ArrayBuffer];
    // Of another text, or of none: the next save replaces it.
    if (keptIndex !== index || keptHash !== hash) return null;
    const row: KvRow = { tokens: ids, bytes: content, checksum };
    const bytes = openRow({ fingerprint: this.#fingerprint, index, hash }, tokens, row);
    if (bytes === null) {
      console.error("A kept KV block is damaged; it and those behind it are dropped and computed again.");
      // Those were not looked at, and damage rarely comes alone.
      this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", index);
    }
    return bytes;
  }
}

/** Takes new blocks for one transaction. */
class KvWriter implements KvSink {
  readonly #sql: SqlStorage;
  readonly #fingerprint: string;
  /** By index. */
  readonly #hashes: Map<number, string>;
  #numBytesLeft = SAVE_BYTES_MAX;
  /** There is more to write than one transaction takes. */
  isPaused = false;

  constructor(sql: SqlStorage, fingerprint: string) {
    this.#sql = sql;
    this.#fingerprint = fingerprint;
    const rows = sql.exec("SELECT block_index, hash FROM kv_block").toArray();
    this.#hashes = new Map(rows.map((row) => [row.block_index as number, row.hash as string]));
  }

  has(index: number, hash: string): boolean {
    return this.#hashes.get(index) === hash;
  }

  write(index: number, hash: string, tokens: Int32Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): boolean {
    const rowBytes = tokens.byteLength + bytes.byteLength;
    // No model that fits an isolate has blocks as large as that.
    if (rowBytes > ROW_BYTES_MAX || (index + 1) * rowBytes > SESSION_KV_BYTES_MAX) return false;
    this.isPaused = this.#numBytesLeft <= 0;
    if (this.isPaused) return false;
    this.#numBytesLeft -= rowBytes;
    const row = sealRow({ fingerprint: this.#fingerprint, index, hash }, tokens, bytes);
    this.#sql.exec(
      "INSERT OR REPLACE INTO kv_block (block_index, hash, checksum, tokens, bytes) VALUES (?, ?, ?, ?, ?)",
      index,
      hash,
      row.checksum,
      row.tokens,
      row.bytes,
    );
    this.#hashes.set(index, hash);
    return true;
  }
}
