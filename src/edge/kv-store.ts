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
import type { KvBlock, KvSink, KvSource, SaveProgress } from "../serving/kv-archive.ts";
import { type KvRow, openRow, sealRow } from "./kv-snapshot.ts";
import { ROW_BYTES_MAX } from "./session-store.ts";

/**
 * Twice the context of the largest models that fit an isolate (SmolLM2-135M: 25 MB for 2,048 tokens in q8), at about a
 * cent a month ($0.20 a GB-month).
 */
export const SESSION_KV_BYTES_MAX = 64_000_000;

/** Of one transaction. Streams of other sessions wait while blocks are copied, summed and inserted: some 10 ms. */
const SAVE_BYTES_MAX = 2_000_000;

/** Rows of one query, which costs more than a row of it. Most are under 200 KB, and these are in memory together. */
const READ_ROWS_MAX = 8;

/** Of rows that go to another object, far under the 32 MiB of an RPC message: both isolates hold it. */
const MESSAGE_BYTES_MAX = 4_000_000;

/** Rows on their way to another object. */
export interface KvRows {
  fingerprint: string;
  /** In order, without a gap. */
  blocks: ({ index: number; hash: string } & KvRow)[];
}

/** As a query gives it. A type, since only that has the index signature of one. */
type StoredRow = { block_index: number; hash: string } & Pick<KvRow, keyof KvRow>;

export class KvStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
  }

  /** What is kept under this fingerprint, now or later. A damaged row is dropped with all behind it when it is read. */
  open(fingerprint: string): KvSource {
    let isOurs = false;
    return {
      read: (blocks) => {
        isOurs ||= this.#header()?.fingerprint === fingerprint;
        return isOurs ? this.#read(fingerprint, blocks) : [];
      },
    };
  }

  /**
   * One transaction of new blocks.
   * @param write writes what the archive lacks; null = could not look
   * @returns true when there is more to write: call again, after others had their turn
   */
  save(fingerprint: string, expiresAtMs: number, write: (archive: KvSink) => SaveProgress | null): boolean {
    return this.#storage.transactionSync(() => {
      this.#prepare(fingerprint, expiresAtMs);
      const writer = new KvWriter(this.#sql, fingerprint);
      const progress = write(writer);
      if (progress === null) return false;
      if (writer.isPaused || !progress.isWhole) return true;
      this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", progress.numKept);
      this.#sql.exec("UPDATE kv_snapshot SET expires_at_ms = ?", expiresAtMs);
      return false;
    });
  }

  /** null = nothing is kept. */
  get expiresAtMs(): number | null {
    return this.#header()?.expiresAtMs ?? null;
  }

  /**
   * Drops what nobody used for too long.
   * @param keptMs how long it may lie at most, whatever the clock said when it was written
   */
  expire(nowMs: number, keptMs: number): void {
    if ((this.expiresAtMs ?? 0) <= nowMs) {
      this.#sql.exec("DROP TABLE IF EXISTS kv_block; DROP TABLE IF EXISTS kv_snapshot");
    } else this.#sql.exec("UPDATE kv_snapshot SET expires_at_ms = min(expires_at_ms, ?)", nowMs + keptMs);
  }

  /** Rows from `fromIndex` on that hold nothing but the first `numTokens`, for another object's `adopt`. */
  rows(fromIndex: number, numTokens: number): KvRows | null {
    const header = this.#header();
    if (header === null) return null;
    const blocks: KvRows["blocks"] = [];
    let numBytes = 0;
    const rows = this.#sql.exec("SELECT * FROM kv_block WHERE block_index >= ? ORDER BY block_index", fromIndex);
    for (const row of rows) {
      const index = row.block_index as number;
      const [tokens, bytes] = [row.tokens as ArrayBuffer, row.bytes as ArrayBuffer];
      numBytes += tokens.byteLength + bytes.byteLength;
      const isNext = index === fromIndex + blocks.length && (index + 1) * (tokens.byteLength / 4) <= numTokens;
      if (!isNext || (numBytes > MESSAGE_BYTES_MAX && blocks.length > 0)) break;
      blocks.push({ index, hash: row.hash as string, checksum: row.checksum as string, tokens, bytes });
    }
    return { fingerprint: header.fingerprint, blocks };
  }

  /** Takes rows of another object over. They are trusted as little as own ones: whoever reads them checks them. */
  adopt({ fingerprint, blocks }: KvRows, expiresAtMs: number): void {
    this.#storage.transactionSync(() => {
      this.#prepare(fingerprint, expiresAtMs);
      for (const { index, hash, ...row } of blocks) writeRow(this.#sql, index, hash, row);
    });
  }

  *#read(fingerprint: string, blocks: readonly KvBlock[]): Generator<Uint8Array, void, void> {
    let rows: StoredRow[] = [];
    for (const [i, { index, hash, ids }] of blocks.entries()) {
      if (i % READ_ROWS_MAX === 0) rows = this.#rowsFrom(index, Math.min(READ_ROWS_MAX, blocks.length - i));
      const row = rows[i % READ_ROWS_MAX];
      // Of another text, or of none: the next save replaces it.
      if (row?.block_index !== index || row.hash !== hash) return;
      const bytes = openRow({ fingerprint, index, hash }, ids, row);
      if (bytes === null) {
        console.error("A kept KV block is damaged; it and those behind it are dropped and computed again.");
        // Those were not looked at, and damage rarely comes alone.
        this.#sql.exec("DELETE FROM kv_block WHERE block_index >= ?", index);
        return;
      }
      yield bytes;
    }
  }

  #rowsFrom(index: number, num: number): StoredRow[] {
    const query = "SELECT * FROM kv_block WHERE block_index >= ? ORDER BY block_index LIMIT ?";
    return this.#sql.exec<StoredRow>(query, index, num).toArray();
  }

  /** Makes the tables ready for blocks of this fingerprint, and for no others. */
  #prepare(fingerprint: string, expiresAtMs: number): void {
    const header = this.#header();
    if (header?.fingerprint === fingerprint) return;
    this.#sql.exec(`
      DROP TABLE IF EXISTS kv_block;
      DROP TABLE IF EXISTS kv_snapshot;
      CREATE TABLE kv_snapshot (fingerprint TEXT NOT NULL, expires_at_ms INTEGER NOT NULL) STRICT;
      CREATE TABLE kv_block (
        block_index INTEGER PRIMARY KEY, hash TEXT NOT NULL, checksum TEXT NOT NULL,
        tokens BLOB NOT NULL, bytes BLOB NOT NULL
      ) STRICT;
    `);
    this.#sql.exec("INSERT INTO kv_snapshot VALUES (?, ?)", fingerprint, expiresAtMs);
  }

  /** null where one of the tables is missing. */
  #header(): { fingerprint: string; expiresAtMs: number } | null {
    const tables = this.#sql.exec("SELECT name FROM sqlite_master WHERE name IN ('kv_snapshot', 'kv_block')").toArray();
    if (tables.length < 2) return null;
    const row = this.#sql.exec("SELECT fingerprint, expires_at_ms FROM kv_snapshot").toArray()[0];
    if (row === undefined) return null;
    return { fingerprint: row.fingerprint as string, expiresAtMs: row.expires_at_ms as number };
  }
}

function writeRow(sql: SqlStorage, index: number, hash: string, { tokens, bytes, checksum }: KvRow): void {
  sql.exec(
    "INSERT OR REPLACE INTO kv_block (block_index, hash, checksum, tokens, bytes) VALUES (?, ?, ?, ?, ?)",
    index,
    hash,
    checksum,
    tokens,
    bytes,
  );
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
    writeRow(this.#sql, index, hash, row);
    this.#hashes.set(index, hash);
    return true;
  }
}
