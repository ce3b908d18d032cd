/**
 * The last turn of a session in the SQLite storage of its Durable Object: how its answer is made and the events of it,
 * so that a stream can be taken up at any event, and the answer itself after a fault.
 *
 * Invariants:
 *  - one turn at a time: a new one takes the place of the last, events and all;
 *  - the events are a prefix of the answer's, in batches of about 32 (a written row costs the same for one as for many,
 *    and twenty alternatives for each token keep a row under 100 KB, far from the 2 MB that a row may have);
 *  - what is not stored can be made again: the request has its seed, and an event depends on nothing else but the prompt.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import type { AnswerFrame } from "../protocol/openai/chunk-stream.ts";
import { withNeutralFields } from "./stored-request.ts";

export interface StoredTurn {
  /** Message id of the answer, and the number of the turn: no id is ever given twice. */
  answerId: number;
  /** The very model file that answers. */
  modelKey: string;
  /** With a seed. */
  request: SessionTurnRequest["request"];
  frame: AnswerFrame;
  /** Messages of the history that are not in the prompt. */
  numTruncated: number;
  /** How often it was begun again since its last event was stored. */
  numRestarts: number;
}

export class TurnStore {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** Makes the tables where they are missing. Only for a session that exists. */
  prepare(): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS turn (
        answer_id INTEGER NOT NULL, model_key TEXT NOT NULL, request TEXT NOT NULL, frame TEXT NOT NULL,
        num_truncated INTEGER NOT NULL, num_restarts INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS turn_events (id INTEGER PRIMARY KEY, events TEXT NOT NULL) STRICT;
    `);
  }

  begin({ answerId, modelKey, request, frame, numTruncated }: Omit<StoredTurn, "numRestarts">): void {
    this.#sql.exec("DELETE FROM turn");
    this.#sql.exec("DELETE FROM turn_events");
    this.#sql.exec(
      "INSERT INTO turn VALUES (?, ?, ?, ?, ?, 0)",
      answerId,
      modelKey,
      JSON.stringify(request),
      JSON.stringify(frame),
      numTruncated,
    );
  }

  last(): StoredTurn | null {
    const row = this.#sql.exec("SELECT * FROM turn").toArray()[0];
    if (row === undefined) return null;
    return {
      answerId: row.answer_id as number,
      modelKey: row.model_key as string,
      request: withNeutralFields(JSON.parse(row.request as string)),
      frame: JSON.parse(row.frame as string) as AnswerFrame,
      numTruncated: row.num_truncated as number,
      numRestarts: row.num_restarts as number,
    };
  }

  append(events: readonly GenerateEvent[]): void {
    if (events.length === 0) return;
    this.#sql.exec("INSERT INTO turn_events (events) VALUES (?)", JSON.stringify(events));
    this.#sql.exec("UPDATE turn SET num_restarts = 0");
  }

  events(): GenerateEvent[] {
    const rows = this.#sql.exec("SELECT events FROM turn_events ORDER BY id").toArray();
    return rows.flatMap((row) => JSON.parse(row.events as string) as GenerateEvent[]);
  }

  countRestart(): void {
    this.#sql.exec("UPDATE turn SET num_restarts = num_restarts + 1");
  }
}
