/** Sockets of the real server: the example of docs/session-socket.md as it stands there, and a peer that does not read. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
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
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", example!, server.url]);
  expect(stdout).toMatch(/^> What is a KV cache\?\n[^]{20,}/);
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

test("a peer that does not read is closed before much is held for it, and holds nobody up", async () => {
  const created = await fetch(`${server.url}/v1/sessions`, { method: "POST" });
  const { id } = (await created.json()) as { id: string };
  const path = `/v1/sessions/${id}/ws`;
  const unread = await openUnread(path);
  const reader = new WebSocket(server.url.replace("http", "ws") + path);
  let numChars = 0;
  let onDone = () => {};
  reader.onmessage = ({ data }) => {
    numChars += data.length;
    if (data.endsWith('"[DONE]"}')) onDone();
  };
  await new Promise((resolve) => (reader.onopen = resolve));
  // Twenty alternatives for each token make kilobytes of each event. What TCP holds on both sides comes on top.
  const fields = { ignore_eos: true, max_tokens: 400, logprobs: true, top_logprobs: 20 };
  for (let i = 0; numChars < 12 * SOCKET_BUFFERED_BYTES_MAX; i++) {
    const done = new Promise<void>((resolve) => (onDone = resolve));
    reader.send(JSON.stringify({ type: i === 0 ? "message" : "regenerate", content: "Much to read", ...fields }));
    await done;
  }
  reader.close();
  const received: Buffer[] = [];
  unread.on("data", (piece) => received.push(piece));
  await new Promise((resolve) => unread.once("end", resolve));
  const bytes = Buffer.concat(received);
  expect(bytes.length).toBeLessThan(numChars - SOCKET_BUFFERED_BYTES_MAX);
  // A close frame with its code.
  const at = bytes.lastIndexOf(0x88);
  expect([bytes.readUInt16BE(at + 2), String(bytes.subarray(at + 4))]).toEqual([4002, "too slow"]);
  unread.destroy();
});
