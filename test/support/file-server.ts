/**
 * A real HTTP server on the loopback that serves a file the way good and bad servers do: with ranges and validators, or
 * cutting connections, ignoring ranges, changing the file, redirecting. The test decides for each request.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Answer {
  body: Uint8Array;
  /** Default 200, or 206 where a range is served. */
  status?: number;
  etag?: string;
  lastModified?: string;
  contentType?: string;
  /** Sends everything whatever range was asked for. */
  ignoresRange?: boolean;
  /** Destroys the connection after this many bytes of the body. The client may see fewer of them, if it is slow. */
  cutAfterBytes?: number;
  /** Sends no Content-Length. */
  hidesSize?: boolean;
  /** Sends a redirect there instead. */
  location?: string;
}

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
}

export interface FileServer {
  /** "http://127.0.0.1:PORT" */
  origin: string;
  requests: SeenRequest[];
  close(): Promise<void>;
}

/** For the client to take what was sent: one that sees the connection end may drop what it had not read yet. */
const CUT_DELAY_MS = 50;

/**
 * @param answer is asked for each request, with its number
 * @param port default: any that is free
 */
export async function fileServer(
  answer: (request: SeenRequest, index: number) => Answer,
  port = 0,
): Promise<FileServer> {
  const requests: SeenRequest[] = [];
  const server = createServer((incoming, response) => {
    const request = seen(incoming);
    requests.push(request);
    send(request, response, answer(request, requests.length - 1));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function seen(incoming: IncomingMessage): SeenRequest {
  return { method: incoming.method ?? "", path: incoming.url ?? "", headers: incoming.headers };
}

function send({ headers }: SeenRequest, response: ServerResponse, answer: Answer): void {
  if (answer.location !== undefined) {
    response.writeHead(answer.status ?? 302, { location: answer.location }).end();
    return;
  }
  const { body } = answer;
  const start = answer.ignoresRange === true ? null : rangeStart(headers, answer);
  if (start !== null && start >= body.length) {
    response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    return;
  }
  const part = body.subarray(start ?? 0);
  response.writeHead(answer.status ?? (start === null ? 200 : 206), {
    "content-type": answer.contentType ?? "application/octet-stream",
    ...(answer.hidesSize !== true && { "content-length": part.length }),
    ...(start !== null && { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` }),
    ...(answer.etag !== undefined && { etag: answer.etag }),
    ...(answer.lastModified !== undefined && { "last-modified": answer.lastModified }),
  });
  if (answer.cutAfterBytes === undefined) {
    response.end(part);
    return;
  }
  response.write(part.subarray(0, answer.cutAfterBytes), () => setTimeout(() => response.destroy(), CUT_DELAY_MS));
}

/** Start of the range to send, or null for everything: no Range, or an If-Range that no longer holds. */
function rangeStart(headers: IncomingHttpHeaders, answer: Answer): number | null {
  const start = /^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1];
  const condition = headers["if-range"];
  const holds = condition === undefined || condition === answer.etag || condition === answer.lastModified;
  return start === undefined || !holds ? null : Number(start);
}
