/**
 * Messages that wait for their turn (`if_busy: "queue"`), in the SQLite storage of their session's object: whoever was
 * told to wait is answered, also when the object is evicted meanwhile and the client's connection is cut with it.
 *
 * Invariants: a message is in here or in the history, never in both (it moves in one transaction) and never in neither,
 * unless the model refused it; ids grow in the order of arrival.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
import { withNeutralFields } from "./stored-request.ts";

export class WaitingMessages {
  readonly #sql: SqlStorage;

  constructor(storage: DurableObjectStorage) {
    this.#sql = storage.sql;
  }

  /** Makes the table where it is missing. Only for a session that exists. */
  prepare(): void {
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS waiting_message (
        id INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL, request TEXT NOT NULL
      ) STRICT
    `);
  }

  /** The content must fit a row; in JSON it might not, so it is kept as it is. @returns its id */
  add(request: SessionTurnRequest): number {
    const { question } = request;
    const content = question.kind === "regenerate" ? "" : question.content;
    const rest = question.kind === "regenerate" ? request : { ...request, question: { ...question, content: "" } };
    const row = this.#sql.exec(
      "INSERT INTO waiting_message (content, request) VALUES (?, ?) RETURNING id",
      content,
      JSON.stringify(rest),
    );
    return row.one().id as number;
  }

  /** In the order of arrival. */
  ids(): number[] {
    const rows = this.#sql.exec("SELECT id FROM waiting_message ORDER BY id").toArray();
    return rows.map((row) => row.id as number);
  }

  get(id: number): SessionTurnRequest {
    const row = this.#sql.exec("SELECT content, request FROM waiting_message WHERE id = ?", id).one();
    const request = JSON.parse(row.request as string) as SessionTurnRequest;
    const { question } = request;
    if (question.kind !== "regenerate") question.content = row.content as string;
    return { ...request, request: withNeutralFields(request.request) };
  }

  get isEmpty(): boolean {
    return this.#sql.exec("SELECT 1 FROM waiting_message LIMIT 1").toArray().length === 0;
  }

  remove(id: number): void {
    this.#sql.exec("DELETE FROM waiting_message WHERE id = ?", id);
  }
}
