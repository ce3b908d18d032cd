/**
 * The KV blocks of a conversation in the SQLite storage of its Durable Object: one row a block, in the chain's order.
 *
 * Invariants:
 *  - all rows are of one fingerprint; blocks of another engine or model are dropped before the first new one is written;
 *  - a row is replaced where the conversation took another turn, and what lies behind its end is cut off;
 *  - a row stays under the platform's 2 MB and a session under `SESSION_KV_BYTES_MAX`: its first blocks are kept, because
 *    a block is worth nothing without all those before it;
 *  - nothing in here is needed: whatever is missing or damaged is computed again.
 */
import type { KvArchive } from "../serving/kv-archive.ts";
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

  /** What is kept under this fingerprint, to be read. A row that turns out damaged is dropped with all behind it. */
  archive(fingerprint: string): KvArchive {
    return new KvRows(this.#sql, fingerprint, this.#fingerprint() === fingerprint);
  }

  /**
   * One transaction of new blocks.
   * @param write writes what the archive lacks, and says how many blocks it has then; null = could not look
   * @returns true when there is more to write: call again, after others had their turn
   */
  save(fingerprint: string, expiresAtMs: number, write: (archive: KvArchive) => number | null): boolean {
    return this.#storage.transactionSync(() => {
      this.#reset(fingerprint, expiresAtMs);
      const rows = new KvRows(this.#sql, fingerprint, true);
      const numKept = write(rows);
      if (rows.isPaused) return true;
      if (numKept !== null) this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", numKept);
      return false;
    });
  }

  /** Drops what nobody used for too long. @returns when to look again, in ms; null = nothing is kept */
  expire(nowMs: number): number | null {
    if (!this.#exists()) return null;
    const expiresAtMs = this.#sql.exec("SELECT expires_at_ms FROM kv_snapshot").one().expires_at_ms as number;
    if (expiresAtMs > nowMs) return expiresAtMs;
    this.#storage.transactionSync(() => this.#sql.exec("DROP TABLE kv_block; DROP TABLE kv_snapshot"));
    return null;
  }

  /** Makes the tables ready for blocks of this fingerprint, and for no others. */
  #reset(fingerprint: string, expiresAtMs: number): void {
    const before = this.#fingerprint();
    if (before === null) {
      this.#sql.exec(`
        CREATE TABLE kv_snapshot (fingerprint TEXT NOT NULL, expires_at_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE kv_block (
          block_index INTEGER PRIMARY KEY, hash TEXT NOT NULL, checksum TEXT NOT NULL,
          tokens BLOB NOT NULL, bytes BLOB NOT NULL
        ) STRICT;
      `);
      this.#sql.exec("INSERT INTO kv_snapshot VALUES (?, ?)", fingerprint, expiresAtMs);
      return;
    }
    if (before !== fingerprint) this.#sql.exec("DELETE FROM kv_block");
    this.#sql.exec("UPDATE kv_snapshot SET fingerprint = ?, expires_at_ms = ?", fingerprint, expiresAtMs);
  }

  #fingerprint(): string | null {
    if (!this.#exists()) return null;
    return this.#sql.exec("SELECT fingerprint FROM kv_snapshot").one().fingerprint as string;
  }

  #exists(): boolean {
    return this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'kv_snapshot'").toArray().length > 0;
  }
}

class KvRows implements KvArchive {
  readonly #sql: SqlStorage;
  readonly #fingerprint: string;
  /** By index. */
  readonly #hashes: Map<number, string>;
  #numBytesLeft = SAVE_BYTES_MAX;
  /** It takes no more in this transaction. */
  isPaused = false;

  constructor(sql: SqlStorage, fingerprint: string, isKept: boolean) {
    this.#sql = sql;
    this.#fingerprint = fingerprint;
    const rows = isKept ? sql.exec("SELECT block_index, hash FROM kv_block").toArray() : [];
    this.#hashes = new Map(rows.map((row) => [row.block_index as number, row.hash as string]));
  }

  has(index: number, hash: string): boolean {
    return this.#hashes.get(index) === hash;
  }

  read(index: number, hash: string, tokens: Int32Array<ArrayBuffer>): Uint8Array | null {
    if (!this.has(index, hash)) return null;
    const row = this.#sql.exec("SELECT tokens, bytes, checksum FROM kv_block WHERE block_index = ?", index).one();
    const bytes = openRow(this.#placeOf(index, hash), tokens, row as unknown as KvRow);
    if (bytes === null) this.#forgetFrom(index);
    return bytes;
  }

  write(index: number, hash: string, tokens: Int32Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): boolean {
    const rowBytes = tokens.byteLength + bytes.byteLength;
    // No model that fits an isolate has blocks as large as that.
    if (rowBytes > ROW_BYTES_MAX || (index + 1) * rowBytes > SESSION_KV_BYTES_MAX) return false;
    this.isPaused = this.#numBytesLeft <= 0;
    if (this.isPaused) return false;
    this.#numBytesLeft -= rowBytes;
    const row = sealRow(this.#placeOf(index, hash), tokens, bytes);
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

  /** Those behind a damaged row were not looked at, and damage rarely comes alone. */
  #forgetFrom(index: number): void {
    console.error("A kept KV block is damaged; it and those behind it are dropped and computed again.");
    this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", index);
    for (const other of this.#hashes.keys()) if (other >= index) this.#hashes.delete(other);
  }

  #placeOf(index: number, hash: string) {
    return { fingerprint: this.#fingerprint, index, hash };
  }
}
