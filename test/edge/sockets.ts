/** WebSockets of sessions through the routes, for the tests of what goes over them. */

import type { WireSession } from "./sessions.ts";
import type { Chunk, ErrorBody } from "./stack.ts";
import { request } from "./stack.ts";

type Message = WireSession["messages"][number];

/** What comes down a socket, as far as tests look. */
export type Frame =
  | { type: "session"; session: WireSession }
  | { type: "turn"; turn: number; message: Message; truncated_messages: number; ref?: string }
  | { type: "event"; id: string; data: Chunk | "[DONE]" }
  | { type: "stopped"; stopped: boolean; ref?: string }
  | { type: "idle"; ref?: string }
  | ({ type: "error"; status: number; retry_after_ms?: number; ref?: string } & ErrorBody)
  | { type: "pong" };

type FrameOf<T extends Frame["type"]> = Extract<Frame, { type: T }>;

export class SocketClient {
  readonly socket: WebSocket;
  /** As they came. */
  readonly texts: string[] = [];
  closed: { code: number; reason: string } | null = null;
  #waiting: (() => void)[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.texts.push(data as string);
      this.#wake();
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
      this.#wake();
    });
    socket.accept();
  }

  get frames(): Frame[] {
    return this.texts.map((text) => JSON.parse(text) as Frame);
  }

  of<T extends Frame["type"]>(type: T): FrameOf<T>[] {
    return this.frames.filter((frame): frame is FrameOf<T> => frame.type === type);
  }

  /** Turns and their events, without what only this one asked for. */
  get shared(): string[] {
    return this.texts
      .filter((text) => /^\{"type":"(turn|event)"/.test(text))
      .map((text) => text.replace(/,"ref":".*?"/, ""));
  }

  /** Of the answers, one for each turn. */
  get answers(): string[] {
    const answers: string[] = [];
    for (const frame of this.frames) {
      if (frame.type === "turn") answers.push("");
      if (frame.type !== "event" || frame.data === "[DONE]") continue;
      answers.push(answers.pop()! + (frame.data.choices[0]?.delta.content ?? ""));
    }
    return answers;
  }

  say(message: object | string): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Until `num` answers have ended. */
  async untilDone(num = 1): Promise<void> {
    await this.until(() => this.texts.filter((text) => text.endsWith('"data":"[DONE]"}')).length >= num);
  }

  /** The first frame that carries this name. */
  async reply(ref: string): Promise<Frame> {
    const find = () => this.frames.find((frame) => "ref" in frame && frame.ref === ref);
    await this.until(() => find() !== undefined);
    return find()!;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export function upgrade(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return request(path, { headers: { upgrade: "websocket", ...headers } });
}

/** @param query such as "last_event_id=2-3" */
export async function connect(id: string, query = ""): Promise<SocketClient> {
  const response = await upgrade(`/v1/sessions/${id}/ws?${query}`);
  if (response.webSocket === null) throw new Error(`${response.status} ${await response.text()}`);
  return new SocketClient(response.webSocket);
}

/** The server-sent events of a response as the frames that a socket gets. */
export function framesOf(sse: string): string[] {
  return [...sse.matchAll(/id: (\S+)\ndata: ([^\n]*)\n/g)].map(([, id, data]) =>
    JSON.stringify({ type: "event", id, data: data === "[DONE]" ? data : JSON.parse(data!) }),
  );
}
