/**
 * Calls of tools in another server's stream, or its whole answer. Servers differ here most: calls come whole or in pieces,
 * id and name once, in every piece, or again as "" or null, without `index`, with the same index for each call, without
 * id or `type`, with arguments as an object. What comes out is in order and complete.
 */
import type { GenerateEvent } from "../generate.ts";
import { countOf, type JsonObject, listOf, objectOf, stringOf } from "../json-values.ts";
import { UpstreamStreamError } from "./upstream-error.ts";

export interface UpstreamCallPiece {
  /** The server's number of the call. */
  index: number | null;
  id: string | null;
  name: string | null;
  arguments: string;
}

/** @param said a delta or a message */
export function upstreamCallPieces(said: JsonObject): UpstreamCallPiece[] {
  const pieces = listOf(said.tool_calls).flatMap((value) => {
    const call = objectOf(value);
    // Workers AI's own shape has name and arguments beside each other.
    return call === null ? [] : [pieceOf(call, objectOf(call.function) ?? call)];
  });
  // OpenAI's older form.
  const call = objectOf(said.function_call);
  return call === null ? pieces : [...pieces, pieceOf({}, call)];
}

function pieceOf(call: JsonObject, made: JsonObject): UpstreamCallPiece {
  const json = made.arguments;
  return {
    index: countOf(call.index),
    id: stringOf(call.id) || null,
    name: stringOf(made.name) || null,
    arguments: typeof json === "object" && json !== null ? JSON.stringify(json) : (stringOf(json) ?? ""),
  };
}

/** The calls of one choice. */
export class UpstreamCalls {
  readonly #choice: number;
  readonly #newId: () => string;
  /** What the server calls each of ours. */
  readonly #known: { index: number | null; id: string | null }[] = [];

  /** @param newId for a call that came without */
  constructor(choice: number, newId: () => string) {
    this.#choice = choice;
    this.#newId = newId;
  }

  get numCalls(): number {
    return this.#known.length;
  }

  /** @throws UpstreamStreamError where a call goes on behind the beginning of the next one */
  take(piece: UpstreamCallPiece): GenerateEvent[] {
    const events: GenerateEvent[] = [];
    let call = this.#callOf(piece);
    if (call < 0) {
      if (piece.name === null) throw new UpstreamStreamError("its stream has arguments of a call that has no name");
      call = this.#known.push({ index: piece.index, id: piece.id }) - 1;
      events.push({ type: "toolCall", index: this.#choice, call, id: piece.id ?? this.#newId(), name: piece.name });
    }
    if (piece.arguments === "") return events;
    if (call !== this.#known.length - 1) throw new UpstreamStreamError("the calls in its stream are interleaved");
    return [...events, { type: "toolArguments", index: this.#choice, call, text: piece.arguments }];
  }

  /** @returns -1 for a new one */
  #callOf({ index, id, name }: UpstreamCallPiece): number {
    const last = this.#known.length - 1;
    if (last < 0) return -1;
    if (id !== null) {
      const sameId = this.#known.findLastIndex((one) => one.id === id);
      if (sameId >= 0) return sameId;
      // A name with another id is another call, whatever its index.
      if (name !== null && this.#known[last]!.id !== null) return -1;
    }
    if (index !== null) return this.#known.findLastIndex((one) => one.index === index);
    return name === null ? last : -1;
  }
}
