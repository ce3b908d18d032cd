/**
 * The responses of one conversation: a Durable Object named by the part that their ids have in common. They are a tree,
 * since any of them may be gone on from more than once; the way from one up to the first is what a model is asked with.
 *
 * Answers are not made here: they are stateless requests, and meet in a lane as those of one conversation do, so the
 * prefix cache of the lane has what was said before. What is kept is words, for `RESPONSE_DAYS` after the last answer.
 *
 * Invariants:
 *  - an object that holds no response holds no table at all, so that probing ids stores nothing;
 *  - a row is one response and never changes.
 */
import { DurableObject } from "cloudflare:workers";
import type { StoredResponse } from "../api/response-service.ts";
import { RESPONSE_CHAIN_MAX } from "../protocol/limits.ts";
import { parseItemId } from "../protocol/responses/ids.ts";
import { type InputItem, outputAsInput } from "../protocol/responses/items.ts";
import type { OutputItem, ResponseBody } from "../protocol/responses/response-body.ts";
import type { Env } from "./env.ts";
import { ROW_BYTES_MAX } from "./session-store.ts";

/** OpenAI's. */
const RESPONSE_DAYS = 30;
const DAY_MS = 24 * 60 * 60 * 1000;
/** What one walk up the tree may read. An isolate has 128 MB for everything, and no context holds so many words. */
const HISTORY_CHARS_MAX = 8_000_000;

export class ResponseConversation extends DurableObject<Env> {
  get(response: string): ResponseBody | null {
    return this.#row(response)?.body ?? null;
  }

  /** Oldest first; null where one of them is gone. */
  history(response: string): InputItem[] | null {
    const turns: InputItem[][] = [];
    let numChars = 0;
    for (let id: string | null = response; id !== null; ) {
      const row = this.#row(id);
      if (row === null || turns.length === RESPONSE_CHAIN_MAX) return null;
      numChars += row.numChars;
      if (numChars > HISTORY_CHARS_MAX) return null;
      turns.unshift([...row.input, ...outputAsInput(row.body.output)]);
      id = row.previous;
    }
    return turns.flat();
  }

  items(ids: readonly string[]): (OutputItem | null)[] {
    const known = new Map<string, readonly OutputItem[]>();
    return ids.map((id) => {
      const response = parseItemId(id)?.response ?? "";
      const output = known.get(response) ?? this.get(response)?.output ?? [];
      known.set(response, output);
      return output.find((item) => item.id === id) ?? null;
    });
  }

  async put(response: string, { previous, input, body }: StoredResponse): Promise<void> {
    const [inputText, bodyText] = [JSON.stringify(input), JSON.stringify(withoutLogprobs(body))];
    const numBytes = new TextEncoder().encode(inputText + bodyText).length;
    if (numBytes > ROW_BYTES_MAX) throw new Error(`A response of ${numBytes} bytes is too large to be kept.`);
    this.ctx.storage.transactionSync(() => {
      const { sql } = this.ctx.storage;
      sql.exec(`
        CREATE TABLE IF NOT EXISTS response (
          id TEXT PRIMARY KEY, previous TEXT, input TEXT NOT NULL, body TEXT NOT NULL
        ) STRICT
      `);
      sql.exec("INSERT INTO response VALUES (?, ?, ?, ?)", response, previous, inputText, bodyText);
    });
    await this.#forgetLater();
  }

  async delete(response: string): Promise<boolean> {
    if (!this.#exists()) return false;
    const { sql } = this.ctx.storage;
    const isDeleted = sql.exec("DELETE FROM response WHERE id = ? RETURNING id", response).toArray().length > 0;
    if (sql.exec("SELECT 1 FROM response LIMIT 1").toArray().length === 0) await this.#forget();
    return isDeleted;
  }

  /** Nothing at all is in its storage. */
  async isEmpty(): Promise<boolean> {
    return !this.#exists() && (await this.ctx.storage.getAlarm()) === null;
  }

  override async alarm(): Promise<void> {
    await this.#forget();
  }

  /** A day sooner or later is the same, and an alarm is a written row. */
  async #forgetLater(): Promise<void> {
    const dueAtMs = Date.now() + RESPONSE_DAYS * DAY_MS;
    const setAtMs = await this.ctx.storage.getAlarm();
    if (setAtMs === null || setAtMs < dueAtMs - DAY_MS) await this.ctx.storage.setAlarm(dueAtMs);
  }

  async #forget(): Promise<void> {
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  #row(response: string): (StoredResponse & { numChars: number }) | null {
    if (!this.#exists()) return null;
    const row = this.ctx.storage.sql.exec("SELECT * FROM response WHERE id = ?", response).toArray()[0];
    if (row === undefined) return null;
    const [input, body] = [row.input as string, row.body as string];
    return {
      previous: row.previous as string | null,
      input: JSON.parse(input) as InputItem[],
      body: JSON.parse(body) as ResponseBody,
      numChars: input.length + body.length,
    };
  }

  #exists(): boolean {
    return this.ctx.storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'response'").toArray().length > 0;
  }
}

/** Twenty alternatives for each token of a long answer fit no row. */
function withoutLogprobs(body: ResponseBody): ResponseBody {
  const output = body.output.map((item): OutputItem => {
    if (item.type !== "message") return item;
    return { ...item, content: item.content.map((part) => ({ ...part, logprobs: [] })) };
  });
  return { ...body, output };
}
