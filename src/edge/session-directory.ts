/**
 * The list of one owner's sessions: a Durable Object named by the owner's id. The sessions themselves write it, after
 * each change; it holds copies for the list and nothing that could not be rebuilt from them.
 *
 * An owner's id is a secret of the browser that made it, so it is the only key to the list.
 */
import { DurableObject } from "cloudflare:workers";
import type { SessionSummary } from "../api/model-service.ts";
import type { Env } from "./env.ts";

/** Newest first in the list, and the oldest drop out of it: a list has to stay readable and one RPC long. */
export const LISTED_SESSIONS_MAX = 500;

export class SessionDirectory extends DurableObject<Env> {
  /** Adds a session, or brings its entry up to date. */
  put(summary: SessionSummary): void {
    const sql = this.ctx.storage.sql;
    sql.exec(`
      CREATE TABLE IF NOT EXISTS entry (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL, num_messages INTEGER NOT NULL
      ) STRICT
    `);
    const { id, title, model, createdAtMs, updatedAtMs, numMessages } = summary;
    sql.exec(
      "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)",
      id,
      title,
      model,
      createdAtMs,
      updatedAtMs,
      numMessages,
    );
    sql.exec(
      "DELETE FROM entry WHERE id IN (SELECT id FROM entry ORDER BY updated_at_ms DESC, id LIMIT -1 OFFSET ?)",
      LISTED_SESSIONS_MAX,
    );
  }

  async remove(id: string): Promise<void> {
    if (!this.#exists()) return;
    const sql = this.ctx.storage.sql;
    sql.exec("DELETE FROM entry WHERE id = ?", id);
    if (sql.exec("SELECT 1 FROM entry LIMIT 1").toArray().length === 0) await this.ctx.storage.deleteAll();
  }

  /** Newest first. */
  list(): SessionSummary[] {
    if (!this.#exists()) return [];
    return this.ctx.storage.sql
      .exec("SELECT * FROM entry ORDER BY updated_at_ms DESC, id")
      .toArray()
      .map((row) => ({
        id: row.id as string,
        title: row.title as string,
        model: row.model as string,
        createdAtMs: row.created_at_ms as number,
        updatedAtMs: row.updated_at_ms as number,
        numMessages: row.num_messages as number,
      }));
  }

  #exists(): boolean {
    return this.ctx.storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'entry'").toArray().length > 0;
  }
}
