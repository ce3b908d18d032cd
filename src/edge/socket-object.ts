/**
 * The runtime's side of a session's sockets: the handlers that it calls on the object, also on one that was gone until
 * then, handed on to `SessionSockets`.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "./env.ts";
import type { SessionSockets } from "./session-sockets.ts";

/** Codes that only say why there was none (RFC 6455, section 7.4.1), and that must not be sent. */
const NO_STATUS = 1005;
const ABNORMAL = 1006;

export abstract class SocketObject extends DurableObject<Env> {
  protected abstract readonly sockets: SessionSockets;

  /** The upgrade of a socket; everything else comes by RPC. */
  override fetch(request: Request): Response {
    return this.sockets.connect(request);
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    return this.sockets.message(socket, message);
  }

  /** A hibernatable socket stays half open, and in the list of sockets, until its close is answered. */
  override webSocketClose(socket: WebSocket, code: number): void {
    if (code === NO_STATUS) socket.close();
    else if (code !== ABNORMAL) socket.close(code);
  }
}
