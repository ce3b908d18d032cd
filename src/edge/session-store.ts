/**
 * A conversation in the SQLite storage of its Durable Object: who and what it is, its messages, and the token ids of
 * the transcript so far, with a mark for each answer up to which it is a transcript, too: so a history that is cut there
 * keeps the ids that its cached KV was computed with.
 *
 * Invariants:
 *  - an object that was never created (or was deleted) holds no table at all, so that probing ids stores nothing;
 *  - a turn is written in one synchronous go, user message and pending answer together: both are there or neither;
 *  - at most one message is "pending": the answer that is being generated, or that a fault cut and that may go on;
 *  - ids of messages only grow, and none is given twice;
 *  - no row passes 2 MB (Durable Object limit; the local runtime does not enforce it, so `ROW_BYTES_MAX` does).
 */

import type { SessionMessage, SessionSummary } from "../api/model-service.ts";
import type { FinishReason } from "../protocol/generate.ts";
import type { Transcript } from "../serving/language-model.ts";

/** Under the platform's 2 MB a row, with room for the other columns. */
export const ROW_BYTES_MAX = 1_900_000;
/** A title is one line of the list. */
const TITLE_CHARS_MAX = 60;
const UNTITLED = "New chat";

export interface SessionRecord {
  id: string;
  owner: string | null;
  model: string;
  title: string | null;
  createdAtMs: number;
  updatedAtMs: number;
}

/** History of a session, as another one takes it over. */
export interface SessionCopy {
  /** Id of that session. */
  from: string;
  model: string;
  title: string | null;
  messages: SessionMessage[];
  transcript: Transcript | null;
}

export class SessionStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
  }

  exists(): boolean {
    return this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'session'").toArray().length > 0;
  }

  create(record: SessionRecord, system: string | null): void {
    this.#storage.transactionSync(() => {
      this.#sql.exec(`
        CREATE TABLE session (
          id TEXT NOT NULL, owner TEXT, model TEXT NOT NULL, title TEXT,
          created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE message (
          id INTEGER PRIMARY KEY AUTOINCREMENT, role TEXT NOT NULL, content TEXT NOT NULL,
          created_at_ms INTEGER NOT NULL, finish_reason TEXT
        ) STRICT;
        CREATE TABLE transcript (text TEXT NOT NULL, tokens BLOB NOT NULL) STRICT;
      `);
      this.prepare();
      this.#sql.exec(
        "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)",
        record.id,
        record.owner,
        record.model,
        record.title,
        record.createdAtMs,
        record.updatedAtMs,
      );
      if (system !== null) this.#insert("system", system, record.createdAtMs, null);
    });
  }

  /** Makes what a session of an earlier version lacks. Only for a session that exists. */
  prepare(): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS transcript_mark (
        answer_id INTEGER PRIMARY KEY, num_chars INTEGER NOT NULL, num_tokens INTEGER NOT NULL
      ) STRICT
    `);
  }

  /** Only for a session that exists. */
  record(): SessionRecord {
    const row = this.#sql.exec("SELECT * FROM session").one();
    return {
      id: row.id as string,
      owner: row.owner as string | null,
      model: row.model as string,
      title: row.title as string | null,
      createdAtMs: row.created_at_ms as number,
      updatedAtMs: row.updated_at_ms as number,
    };
  }

  summary(): SessionSummary {
    const { owner: _, ...record } = this.record();
    const numMessages = this.#sql.exec("SELECT count(*) AS n FROM message").one().n as number;
    return { ...record, title: record.title ?? UNTITLED, numMessages };
  }

  messages(): SessionMessage[] {
    return this.#sql
      .exec("SELECT id, role, content, created_at_ms, finish_reason FROM message ORDER BY id")
      .toArray()
      .map((row) => ({
        id: row.id as number,
        role: row.role as SessionMessage["role"],
        content: row.content as string,
        createdAtMs: row.created_at_ms as number,
        finishReason: row.finish_reason as string | null,
      }));
  }

  /**
   * Stores the user's message and an empty answer, both or neither.
   *
   * @param replaces the user's message whose place this one takes; whatever came after it is dropped
   * @returns the answer's message id
   */
  beginTurn(content: string, nowMs: number, replaces: number | null = null): number {
    return this.#storage.transactionSync(() => {
      if (replaces === null) this.#insert("user", content, nowMs, null);
      else {
        this.#sql.exec("UPDATE message SET content = ? WHERE id = ?", content, replaces);
        this.#sql.exec("DELETE FROM message WHERE id > ?", replaces);
        this.#sql.exec("DELETE FROM transcript_mark WHERE answer_id > ?", replaces);
      }
      const answerId = this.#insert("assistant", "", nowMs, "pending");
      this.#sql.exec("UPDATE session SET updated_at_ms = ?, title = coalesce(title, ?)", nowMs, titleFrom(content));
      return answerId;
    });
  }

  /** The answer as far as it is known; still pending. */
  checkpoint(answerId: number, text: string): void {
    this.#sql.exec("UPDATE message SET content = ? WHERE id = ?", text, answerId);
  }

  /** @param transcript null = keep the last one: it is still a prefix of the conversation */
  endTurn(answerId: number, text: string, reason: FinishReason, transcript: Transcript | null, nowMs: number): void {
    this.#storage.transactionSync(() => {
      this.#sql.exec("UPDATE message SET content = ?, finish_reason = ? WHERE id = ?", text, reason, answerId);
      this.#sql.exec("UPDATE session SET updated_at_ms = ?", nowMs);
      if (transcript !== null) this.#replaceTranscript(answerId, transcript);
    });
  }

  /**
   * Of the conversation up to the last answer whose tokens are known.
   *
   * @param before only answers with a lower message id; null = all
   */
  transcript(before: number | null = null): Transcript | null {
    const row = this.#sql.exec("SELECT text, tokens FROM transcript").toArray()[0];
    if (row === undefined) return null;
    const text = row.text as string;
    const tokens = [...new Uint32Array(row.tokens as ArrayBuffer)];
    const mark = this.#sql
      .exec(
        "SELECT num_chars, num_tokens FROM transcript_mark WHERE answer_id < ? ORDER BY answer_id DESC LIMIT 1",
        before ?? Number.MAX_SAFE_INTEGER,
      )
      .toArray()[0];
    // Without a mark it may be too long, and then it does no harm: it is used only for a prompt that begins with it.
    if (mark === undefined) return { text, tokens };
    return { text: text.slice(0, mark.num_chars as number), tokens: tokens.slice(0, mark.num_tokens as number) };
  }

  /** The answer that is being generated, or was when a fault came; null where there is none. */
  pendingAnswerId(): number | null {
    const row = this.#sql.exec("SELECT id FROM message WHERE finish_reason = 'pending'").toArray()[0];
    return row === undefined ? null : (row.id as number);
  }

  /** The answer stays as far as it came. */
  markAborted(answerId: number, nowMs: number): void {
    this.#sql.exec("UPDATE message SET finish_reason = 'abort' WHERE id = ?", answerId);
    this.#sql.exec("UPDATE session SET updated_at_ms = ?", nowMs);
  }

  /** Takes over the history of another session, ids and all, into one that has none. */
  adopt(messages: readonly SessionMessage[], transcript: Transcript | null): void {
    this.#storage.transactionSync(() => {
      for (const { id, role, content, createdAtMs, finishReason } of messages) {
        this.#sql.exec("INSERT INTO message VALUES (?, ?, ?, ?, ?)", id, role, content, createdAtMs, finishReason);
      }
      const lastAnswer = messages.findLast(({ role }) => role === "assistant");
      if (transcript !== null && lastAnswer !== undefined) this.#replaceTranscript(lastAnswer.id, transcript);
    });
  }

  #replaceTranscript(answerId: number, transcript: Transcript): void {
    const before = this.transcript(answerId);
    if (before === null || !isContinued(before, transcript)) this.#sql.exec("DELETE FROM transcript_mark");
    this.#sql.exec("DELETE FROM transcript");
    const tokens = Uint32Array.from(transcript.tokens);
    // Only a cache of how the text was tokenized: too long for a row, the next turn tokenizes anew.
    if (transcript.text.length * 3 + tokens.byteLength > ROW_BYTES_MAX) return;
    this.#sql.exec("INSERT INTO transcript VALUES (?, ?)", transcript.text, tokens.buffer);
    const { text } = transcript;
    this.#sql.exec("INSERT INTO transcript_mark VALUES (?, ?, ?)", answerId, text.length, tokens.length);
  }

  #insert(role: SessionMessage["role"], content: string, nowMs: number, finishReason: string | null): number {
    const row = this.#sql
      .exec(
        "INSERT INTO message (role, content, created_at_ms, finish_reason) VALUES (?, ?, ?, ?) RETURNING id",
        role,
        content,
        nowMs,
        finishReason,
      )
      .one();
    return row.id as number;
  }
}

function isContinued(before: Transcript, after: Transcript): boolean {
  return after.text.startsWith(before.text) && before.tokens.every((token, i) => after.tokens[i] === token);
}

/** First line of the first message, cut at a word where that leaves most of it. */
export function titleFrom(content: string): string {
  const line = content.trim().split(/\s+/u).join(" ");
  if (line === "") return UNTITLED;
  const chars = [...line];
  if (chars.length <= TITLE_CHARS_MAX) return line;
  const cut = chars.slice(0, TITLE_CHARS_MAX - 1).join("");
  const lastSpace = cut.lastIndexOf(" ");
  return `${lastSpace > TITLE_CHARS_MAX / 2 ? cut.slice(0, lastSpace) : cut}…`;
}
