/** Sockets of the real server: the example of docs/session-socket.md as it stands there, and a peer that does not read. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SOCKET_BUFFERED_BYTES_MAX } from "../../src/protocol/limits.ts";
import { type RunningServer, startServer } from "./server.ts";

const ROOT = join(import.meta.dirname, "../..");

let server: RunningServer;
let persistTo: string;

beforeAll(async () => {
  persistTo = await mkdtemp(join(tmpdir(), "runnel-socket-"));
  server = await startServer({ persistTo });
});

afterAll(async () => {
  await server?.stop();
  await rm(persistTo, { recursive: true, force: true });
});

test("the example of the documentation runs as it stands there", async () => {
  const text = await readFile(join(ROOT, "docs/session-socket.md"), "utf8");
  const [, example] = /```js\n(.*?)```/s.exec(text)!;
  const file = join(persistTo, "example.mjs");
  await writeFile(file, example!);
  const { stdout } = await promisify(execFile)(process.execPath, [file, server.url]);
  expect(stdout).toMatch(/^> What is a KV cache\?\n.{20,}/s);
});

/** An upgrade by hand (RFC 6455, section 1.3): a socket of a library would read. */
async function openUnread(path: string): Promise<Socket> {
  const { hostname, port, host } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  const head = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  expect(String(head)).toMatch(/^HTTP\/1\.1 101 /);
  return socket.pause();
}

/** A text frame as a client sends it (RFC 6455, section 5.2), under a mask of zeros. */
function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  expect(payload.length).toBeLessThan(126);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
}

test("a peer that asks and does not read is closed before much is held for it", async () => {
  const created = await fetch(`${server.url}/v1/sessions`, { method: "POST" });
  const { id } = (await created.json()) as { id: string };
  // Twenty alternatives for each token make kilobytes of each event.
  const fields = { ignore_eos: true, max_tokens: 300, logprobs: true, top_logprobs: 20, stream: true };
  const response = await fetch(`${server.url}/v1/sessions/${id}/messages`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ content: "Much to read", ...fields }),
  });
  const answer = await response.text();
  const [, firstId] = /^id: (.*)$/m.exec(answer)!;
  expect(answer.length).toBeGreaterThan(SOCKET_BUFFERED_BYTES_MAX / 2);

  const unread = await openUnread(`/v1/sessions/${id}/ws`);
  const NUM_REPLAYS = 60;
  for (let i = 0; i < NUM_REPLAYS; i++) {
    unread.write(textFrame(JSON.stringify({ type: "resume", last_event_id: firstId })));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // The last frame: a close with its code and reason.
  const close = Buffer.from([0x88, 10, 4002 >> 8, 4002 & 0xff, ...Buffer.from("too slow")]);
  let numBytes = 0;
  let end = Buffer.alloc(0);
  for await (const piece of unread) {
    numBytes += (piece as Buffer).length;
    end = Buffer.concat([end, piece as Buffer]).subarray(-close.length);
    if (end.equals(close)) break;
  }
  expect(end).toEqual(close);
  // What TCP holds on both sides comes on top of what the server holds.
  expect(numBytes).toBeLessThan((NUM_REPLAYS * answer.length) / 2);
});
