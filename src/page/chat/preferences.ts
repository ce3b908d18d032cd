/**
 * What the browser remembers by itself: the model for new chats, the API key, and text that was typed but not taken by the
 * server.
 * Storage may be full or forbidden (private windows); the page then just forgets.
 */

/** The part of the browser's `Storage` that is used. */
export interface KeyValueStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const MODEL_KEY = "runnel.model";
const API_KEY = "runnel.key";
const DRAFT_PREFIX = "runnel.draft.";

export class Preferences {
  readonly #storage: KeyValueStore | null;

  constructor(storage: KeyValueStore | null) {
    this.#storage = storage;
  }

  get model(): string | null {
    return this.#read(MODEL_KEY);
  }

  saveModel(model: string): void {
    this.#write(MODEL_KEY, model);
  }

  /** null = the server needs none, as far as the page knows. */
  get apiKey(): string | null {
    return this.#read(API_KEY);
  }

  saveApiKey(key: string | null): void {
    this.#write(API_KEY, key);
  }

  draft(slot: string): string {
    return this.#read(DRAFT_PREFIX + slot) ?? "";
  }

  saveDraft(slot: string, text: string): void {
    this.#write(DRAFT_PREFIX + slot, text === "" ? null : text);
  }

  #read(key: string): string | null {
    try {
      return this.#storage?.getItem(key) ?? null;
    } catch {
      return null;
    }
  }

  #write(key: string, value: string | null): void {
    try {
      if (value === null) this.#storage?.removeItem(key);
      else this.#storage?.setItem(key, value);
    } catch {
      // Full or forbidden: what is on screen is still there.
    }
  }
}
