/**
 * The WebSocket of one session: what happens in it, whoever does it. Turns come out as the same `AnswerStream` that a POST
 * gives, so whoever shows one need not know where it comes from; a socket that breaks ends it early, as a broken body does.
 */
import type { LoadedSession } from "../state/reducer.ts";
import type { AnswerStream } from "./client.ts";
import { type AnswerEvent, decodeChunk, decodeSession, type WireSessionDetail } from "./wire.ts";

export interface WatchedTurn {
  /** Grows with every turn of the session. */
  turn: number;
  answer: AnswerStream;
}

export interface SessionWatcher {
  /** The session as it is when the watching begins. */
  opened(session: LoadedSession): void;
  /** A turn has begun, here or elsewhere. */
  turn(turn: WatchedTurn): void;
  /** Called once, also where it never opened; not after the watcher ended it. */
  closed(isDeleted: boolean): void;
}

/** Close code of a session that was deleted. */
const DELETED = 4001;

export type OpenSocket = (path: string) => WebSocket;

interface WireEvent {
  id: string;
  data: object | "[DONE]";
}

type Frame =
  | { type: "session"; session: WireSessionDetail }
  | { type: "turn"; turn: number }
  | ({ type: "event" } & WireEvent)
  | { type: "other" };

/** @returns ends the watching */
export function watchSession(openSocket: OpenSocket, path: string, watcher: SessionWatcher): () => void {
  const socket = openSocket(path);
  let running: TurnEvents | null = null;
  let isOver = false;

  const end = () => {
    isOver = true;
    running?.cut();
    socket.close();
  };
  socket.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(data as string) as Frame;
    if (frame.type === "session") watcher.opened(decodeSession(frame.session));
    if (frame.type === "turn") {
      running?.cut();
      running = new TurnEvents();
      watcher.turn({ turn: frame.turn, answer: running });
    }
    if (frame.type === "event") running?.push(frame);
  });
  socket.addEventListener("close", ({ code }) => {
    if (isOver) return;
    end();
    watcher.closed(code === DELETED);
  });
  return end;
}

/** The events of a turn, kept until they are read. */
class TurnEvents implements AnswerStream {
  lastEventId: string | null = null;
  readonly #events: WireEvent[] = [];
  #isOver = false;
  #wake = () => {};

  push(event: WireEvent): void {
    if (event.data === "[DONE]") this.cut();
    else this.#events.push(event);
    this.#wake();
  }

  /** No more events come. */
  cut(): void {
    this.#isOver = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) {
        yield* decodeChunk(JSON.stringify(event.data));
        this.lastEventId = event.id;
      } else if (this.#isOver) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
