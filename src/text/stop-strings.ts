/**
 * Cuts streamed text at the first place where a stop string begins. Same answer as searching the whole text with the
 * alternatives in order: the leftmost match, and of several at one place the first in the list. Text that may still
 * turn out to be part of a stop string is held back; a stop string itself is never given out.
 */
export interface StopMatch {
  /** Text that can no longer belong to a stop string. */
  text: string;
  /** The stop string that ended the text; from then on everything is swallowed. */
  stop: string | null;
}

export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #stop: string | null = null;

  /** @param stops empty ones are ignored: they would end every text at once */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  push(piece: string): StopMatch {
    return this.#advance(piece, false);
  }

  /** No more text: what only began like a stop string is given out. */
  flush(): StopMatch {
    return this.#advance("", true);
  }

  #advance(piece: string, isEnd: boolean): StopMatch {
    if (this.#stop !== null) return { text: "", stop: this.#stop };
    const text = this.#held + piece;
    for (let at = 0; at < text.length; at++) {
      const found = this.#at(text, at, isEnd);
      if (found === "none") continue;
      this.#held = found === "maybe" ? text.slice(at) : "";
      if (found !== "maybe") this.#stop = found.stop;
      return { text: text.slice(0, at), stop: this.#stop };
    }
    this.#held = "";
    return { text, stop: null };
  }

  /** The first stop string of the list that begins at `at`; "maybe" if one before it could with more text. */
  #at(text: string, at: number, isEnd: boolean): { stop: string } | "maybe" | "none" {
    const numLeft = text.length - at;
    for (const stop of this.#stops) {
      if (text.startsWith(stop, at)) return { stop };
      if (!isEnd && stop.length > numLeft && stop.startsWith(text.slice(at))) return "maybe";
    }
    return "none";
  }
}
