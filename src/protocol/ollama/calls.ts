/**
 * Tool calls in Ollama's shape: whole, with their arguments as an object. A call whose arguments are no JSON object is
 * left out: the answer was cut within it.
 */
import type { ToolCall } from "../generate.ts";
import { objectOf } from "../json-values.ts";

export function ollamaCalls(calls: readonly ToolCall[], firstIndex = 0): object[] {
  return calls.flatMap(({ id, name, arguments: json }, i) => {
    const values = parsedObject(json);
    return values === null ? [] : [{ id, function: { index: firstIndex + i, name, arguments: values } }];
  });
}

function parsedObject(json: string): object | null {
  // A model that calls without arguments may write none.
  if (json.trim() === "") return {};
  try {
    return objectOf(JSON.parse(json));
  } catch {
    return null;
  }
}

/** Collects the pieces of a stream's calls until each is whole. */
export class CallCollector {
  #open: { id: string; name: string; pieces: string[] } | null = null;
  #numCalls = 0;

  /** @returns the call that was open, which is whole now, as a list of one; [] where none was */
  begin(id: string, name: string): object[] {
    const whole = this.end();
    this.#open = { id, name, pieces: [] };
    return whole;
  }

  add(piece: string): void {
    this.#open!.pieces.push(piece);
  }

  /** @returns as `begin` */
  end(): object[] {
    if (this.#open === null) return [];
    const { id, name, pieces } = this.#open;
    this.#open = null;
    return ollamaCalls([{ id, name, arguments: pieces.join("") }], this.#numCalls++);
  }
}
