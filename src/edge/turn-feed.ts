/**
 * The events of one turn on their way to the sockets of its session. Each event is encoded once for all of them; a socket
 * that joins later, or whose peer has more than there is, gets an encoding of its own.
 *
 * It keeps the events, not their text: they are the objects of the turn's own log.
 */
import type { SessionMessage } from "../api/model-service.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import { chatStream } from "../protocol/openai/chat-response.ts";
import { eventFrames, turnFrame } from "../protocol/session-socket.ts";
import { IdentifiedStream } from "../protocol/sse-ids.ts";
import type { PeerSocket } from "./peer-socket.ts";
import type { StoredTurn } from "./turn-store.ts";

export class TurnFeed {
  readonly #turn: StoredTurn;
  readonly #question: SessionMessage;
  readonly #events: GenerateEvent[] = [];
  readonly #encoder: IdentifiedStream;
  #numFrames = 0;

  constructor(turn: StoredTurn, question: SessionMessage) {
    this.#turn = turn;
    this.#question = question;
    this.#encoder = this.#encoderAfter(0);
  }

  get turn(): number {
    return this.#turn.answerId;
  }

  /**
   * Announces the turn to one socket and brings it level with the others.
   *
   * @param numSeen events that its peer has, maybe more than there are yet
   */
  join(socket: PeerSocket, numSeen: number, ref: string | null): void {
    const { answerId: turn, numTruncated } = this.#turn;
    socket.send(turnFrame({ turn, question: this.#question, numTruncated }, ref), ...this.framesAfter(numSeen));
    socket.state = { turn, numEvents: Math.max(numSeen, this.#numFrames) };
  }

  /** @param events the next ones */
  push(events: readonly GenerateEvent[], sockets: readonly PeerSocket[]): void {
    const numBefore = this.#numFrames;
    const frames = events.flatMap((event) => eventFrames(this.#encoder.encode(event)));
    for (const event of events) this.#events.push(event);
    this.#numFrames += frames.length;
    const last = events.at(-1)?.type;
    const hasEnded = last === "done" || last === "error";
    for (const socket of sockets) {
      const { turn, numEvents } = socket.state;
      if (turn !== this.turn) continue;
      // A peer that has more than there was in the end must still see an end.
      if (hasEnded && numEvents > this.#numFrames) socket.send(...this.framesAfter(numEvents));
      else socket.send(...frames.slice(Math.max(numEvents - numBefore, 0)));
      if (numEvents < this.#numFrames) socket.state = { turn, numEvents: this.#numFrames };
    }
  }

  framesAfter(numSeen: number): string[] {
    if (this.#events.length === 0) return [];
    const encoder = this.#encoderAfter(numSeen);
    return this.#events.flatMap((event) => eventFrames(encoder.encode(event)));
  }

  #encoderAfter(numSeen: number): IdentifiedStream {
    return new IdentifiedStream(chatStream(this.#turn.frame), this.turn, numSeen);
  }
}
