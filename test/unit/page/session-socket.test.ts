/** What the page makes of the frames of a session's socket. */
import { expect, test } from "vitest";
import { type SessionWatcher, type WatchedTurn, watchSession } from "../../../src/page/net/session-socket.ts";
import type { LoadedSession } from "../../../src/page/state/reducer.ts";
import { collect } from "./collect.ts";

class FakeSocket extends EventTarget {
  isClosed = false;

  close(): void {
    this.isClosed = true;
  }

  receive(...frames: object[]): void {
    for (const frame of frames)
      this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(frame) }));
  }

  end(code: number): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

function watched() {
  const socket = new FakeSocket();
  const sessions: LoadedSession[] = [];
  const turns: WatchedTurn[] = [];
  const closed: boolean[] = [];
  const watcher: SessionWatcher = {
    opened: (session) => sessions.push(session),
    turn: (turn) => turns.push(turn),
    closed: (isDeleted) => closed.push(isDeleted),
  };
  const paths: string[] = [];
  const open = (path: string) => {
    paths.push(path);
    return socket as unknown as WebSocket;
  };
  const end = watchSession(open, "/v1/sessions/s1/ws", watcher);
  return { socket, sessions, turns, closed, paths, end };
}

const piece = (id: string, content: string) => ({ type: "event", id, data: { choices: [{ delta: { content } }] } });
const finish = (id: string) => ({ type: "event", id, data: { choices: [{ delta: {}, finish_reason: "stop" }] } });
const done = (id: string) => ({ type: "event", id, data: "[DONE]" });

test("a session, then turns with their answers, in order", async () => {
  const { socket, sessions, turns, paths } = watched();
  const session = { id: "s1", title: "T", model: "demo", updated_at: 1, busy: false, messages: [] };
  socket.receive({ type: "session", session }, { type: "pong" });
  expect(sessions).toMatchObject([{ id: "s1", lastMessageId: 0 }]);
  socket.receive({ type: "turn", turn: 2 }, piece("2-1", "He"), piece("2-2", "llo"), finish("2-3"), done("2-4"));
  socket.receive({ type: "turn", turn: 4 }, piece("4-1", "Bye"));
  expect(turns.map(({ turn }) => turn)).toEqual([2, 4]);
  expect(await collect(turns[0]!.answer)).toEqual([
    { type: "text", text: "He" },
    { type: "text", text: "llo" },
    { type: "end", reason: "stop" },
  ]);
  expect(turns[0]!.answer.lastEventId).toBe("2-3");
  const late = collect(turns[1]!.answer);
  socket.receive(finish("4-2"), done("4-3"));
  expect(await late).toEqual([
    { type: "text", text: "Bye" },
    { type: "end", reason: "stop" },
  ]);
  expect(paths).toEqual(["/v1/sessions/s1/ws"]);
});

test("a socket that breaks ends the answer early, where it was, and says so once", async () => {
  const { socket, turns, closed } = watched();
  socket.receive({ type: "turn", turn: 2 }, piece("2-1", "He"));
  socket.end(1006);
  socket.end(1006);
  expect(closed).toEqual([false]);
  expect(await collect(turns[0]!.answer)).toEqual([{ type: "text", text: "He" }]);
  expect(turns[0]!.answer.lastEventId).toBe("2-1");
});

test("a session that was deleted is told from a socket that broke", () => {
  const { socket, closed } = watched();
  socket.end(4001);
  expect(closed).toEqual([true]);
});

test("whoever ends the watch hears nothing more", async () => {
  const { socket, turns, closed, end } = watched();
  socket.receive({ type: "turn", turn: 2 }, piece("2-1", "He"));
  end();
  expect(socket.isClosed).toBe(true);
  socket.end(1000);
  expect(closed).toEqual([]);
  expect(await collect(turns[0]!.answer)).toEqual([{ type: "text", text: "He" }]);
});

test("an error of the answer is thrown to its reader", async () => {
  const { socket, turns } = watched();
  socket.receive({ type: "turn", turn: 2 }, { type: "event", id: "2-1", data: { error: { message: "Broken." } } });
  await expect(collect(turns[0]!.answer)).rejects.toMatchObject({
    failure: { kind: "interrupted", detail: "Broken." },
  });
});
