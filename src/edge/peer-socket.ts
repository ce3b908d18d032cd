/**
 * One hibernatable WebSocket of a session: what it has got so far, kept in its attachment, which outlives the object,
 * and a send that is bounded.
 */
import { SOCKET_BUFFERED_BYTES_MAX } from "../protocol/limits.ts";
import { SOCKET_CLOSE } from "../protocol/session-socket.ts";

interface SocketState {
  /** The last turn that was announced to it; 0 = none. */
  turn: number;
  /** Events of that turn that its peer has. */
  numEvents: number;
}

export class PeerSocket {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** The same connection? */
  is(other: PeerSocket): boolean {
    return this.#socket === other.#socket;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  get state(): SocketState {
    return (this.#socket.deserializeAttachment() as SocketState | null) ?? { turn: 0, numEvents: 0 };
  }

  set state(state: SocketState) {
    this.#socket.serializeAttachment(state);
  }

  send(...frames: string[]): void {
    for (const frame of frames) {
      if (!this.isOpen) return;
      // The runtime takes any amount and holds it in the isolate's memory.
      if (this.#socket.bufferedAmount > SOCKET_BUFFERED_BYTES_MAX) this.close(SOCKET_CLOSE.tooSlow, "too slow");
      else this.#socket.send(frame);
    }
  }

  close(code: number, reason: string): void {
    if (this.isOpen) this.#socket.close(code, reason);
  }
}
