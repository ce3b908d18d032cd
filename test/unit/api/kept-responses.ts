/** Kept responses in memory, for routes without a Durable Object. */
import type { ResponseService, StoredResponse } from "../../../src/api/response-service.ts";
import { parseItemId, type ResponseAddress, responseIdOf } from "../../../src/protocol/responses/ids.ts";
import { type InputItem, outputAsInput } from "../../../src/protocol/responses/items.ts";

export class MemoryResponses implements ResponseService {
  readonly stored = new Map<string, StoredResponse>();
  readonly #ofKeys = new Map<string, MemoryResponses>();

  of(keyId: string) {
    const own = this.#ofKeys.get(keyId) ?? new MemoryResponses();
    this.#ofKeys.set(keyId, own);
    return own;
  }

  async get(address: ResponseAddress) {
    return this.stored.get(responseIdOf(address))?.body ?? null;
  }

  async history({ conversation, response }: ResponseAddress) {
    const turns: InputItem[][] = [];
    for (let id: string | null = response; id !== null; ) {
      const stored = this.stored.get(responseIdOf({ conversation, response: id }));
      if (stored === undefined) return null;
      turns.unshift([...stored.input, ...outputAsInput(stored.body.output)]);
      id = stored.previous;
    }
    return turns.flat();
  }

  async items(_conversation: string, ids: readonly string[]) {
    return ids.map((id) => {
      const address = parseItemId(id);
      const stored = address === null ? undefined : this.stored.get(responseIdOf(address));
      return stored?.body.output.find((item) => item.id === id) ?? null;
    });
  }

  async put(address: ResponseAddress, response: StoredResponse) {
    this.stored.set(responseIdOf(address), response);
  }

  async delete(address: ResponseAddress) {
    return this.stored.delete(responseIdOf(address));
  }
}
