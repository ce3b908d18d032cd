/**
 * Sessions as the routes see them, on top of Durable Objects: each session's requests go to its own object. Nothing is
 * computed here; a Worker's invocation only carries bytes.
 */
import type { EventStream, SessionService } from "../api/model-service.ts";
import { randomHexId } from "../api/random-id.ts";
import { ApiError, type ApiErrorFields } from "../protocol/errors.ts";
import type { Env } from "./env.ts";
import { eventsFrom } from "./event-bytes.ts";
import { assertModelExists } from "./model-router.ts";
import { resumingEvents } from "./resuming-events.ts";
import { unwrap } from "./rpc-result.ts";
import { socketRequest } from "./session-sockets.ts";

/**
 * @param keyId the API key whose sessions they are: it is part of their objects' names, so under another key, or none, the
 * same id is another object, an empty one
 */
export function edgeSessions(env: Env, keyId: string | null = null): SessionService {
  const objectName = (id: string) => (keyId === null ? id : `${keyId}/${id}`);
  // A stub for each call: one whose object broke stays broken.
  const session = (id: string) => env.CHAT_SESSION.getByName(objectName(id));
  const whole = (id: string, turn: number, bytes: ReadableStream<Uint8Array>): EventStream =>
    resumingEvents(eventsFrom(bytes), async (numRead) => {
      const again = unwrap(await session(id).stream(id, turn, numRead));
      if (again === null) throw new Error(`Turn ${turn} of session ${id} is gone.`);
      return eventsFrom(again.bytes);
    });
  return {
    of: (otherKeyId) => edgeSessions(env, otherKeyId),
    async create(init, owner) {
      await assertModelExists(env, init.model);
      const id = randomHexId();
      return unwrap(await session(id).create(id, init, owner));
    },
    list: async (owner) => env.SESSION_DIRECTORY.getByName(owner).list(),
    get: async (id) => unwrap(await session(id).get(id)),
    async delete(id) {
      unwrap(await session(id).delete(id));
    },
    async send(id, request) {
      const { bytes, turn, numTruncated, fallbackModel, headers } = unwrap(await session(id).send(id, request));
      return { events: whole(id, turn, bytes), turn, numTruncated, fallbackModel, headers: headers ?? {} };
    },
    async stream(id, asked) {
      const opened = unwrap(await session(id).stream(id, asked, 0));
      if (opened === null) return null;
      const { bytes, turn, frame, hasEnded } = opened;
      return { events: whole(id, turn, bytes), turn, frame, hasEnded };
    },
    async fork(id, { messageId, title }, owner) {
      const copy = unwrap(await session(id).copy(id, messageId));
      const forkId = randomHexId();
      const init = { model: copy.model, system: null, title: title ?? copy.title };
      return unwrap(await session(forkId).create(forkId, init, owner, { ...copy, from: objectName(id) }));
    },
    async connect(id, position) {
      const response = await session(id).fetch(socketRequest(id, position));
      const { webSocket } = response;
      if (webSocket === null) throw new ApiError((await response.json()) as ApiErrorFields);
      // What came from the object cannot be given more headers.
      return new Response(null, { status: 101, webSocket });
    },
    stop: async (id) => unwrap(await session(id).stop(id)),
  };
}
