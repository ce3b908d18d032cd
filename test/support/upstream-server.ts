/**
 * A real HTTP server that speaks OpenAI's API the way good and bad servers do. Anything before "/v1" in its path is the
 * name of an origin, each with a log and a script of its own: replies to be given once each, then the usual ones.
 *
 * The usual answer is a function of the last question, so that any two ways to the same question can be compared. It goes
 * on from given first words (`continue_final_message`) and stops at `max_tokens`.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What happens after some pieces of the usual answer. */
export interface Fault {
  afterPieces: number;
  /** Sends nothing more; cuts the connection; ends it as if all was said; sends no JSON; tells of an error. */
  kind: "stall" | "cut" | "end" | "garbage" | "error";
}

export interface UpstreamReply {
  status?: number;
  headers?: Record<string, string>;
  /** Instead of an answer. */
  body?: string;
  /** No head ever comes. */
  isSilent?: boolean;
  fault?: Fault;
  /** Before each piece. */
  pauseMs?: number;
}

export interface SeenCall {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Record<string, unknown> | null;
  numPieces: number;
  /** "closed" = the other side left before the end. */
  state: "open" | "ended" | "closed";
}

export interface UpstreamServer {
  /** "http://127.0.0.1:PORT" */
  url: string;
  port: number;
  script(origin: string, ...replies: UpstreamReply[]): void;
  calls(origin: string): SeenCall[];
  /** Drops every connection and takes no more, as a process that is killed. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

const WORDS = ["river", "stone", "über", "cloud", "naïve", "lamp", "東京", "wheel", "ember", "🙂", "glass", "moss"];
const NUM_WORDS_DEFAULT = 24;

/** The whole of the usual answer to a question, in the pieces that are sent. */
export function usualPieces(question: string, numPieces = NUM_WORDS_DEFAULT): string[] {
  let state = 7;
  for (const char of question) state = (state * 31 + char.codePointAt(0)!) % 1_000_003;
  return Array.from({ length: numPieces }, (_, i) => {
    state = (state * 48_271 + 11) % 1_000_003;
    return `${i === 0 ? "" : " "}${WORDS[state % WORDS.length]}`;
  });
}

export async function upstreamServer(port = 0): Promise<UpstreamServer> {
  const scripts = new Map<string, UpstreamReply[]>();
  const logs = new Map<string, SeenCall[]>();
  const logOf = (origin: string) => logs.get(origin) ?? logs.set(origin, []).get(origin)!;
  const server = createServer(async (request, response) => {
    const [, origin = "", rest = ""] = /^\/(.*?)\/?(v1\/.*|script|calls)$/.exec(request.url ?? "") ?? [];
    const body = await jsonBody(request);
    if (rest === "script") {
      scripts.set(origin, body as unknown as UpstreamReply[]);
      logs.set(origin, []);
      response.end();
      return;
    }
    if (rest === "calls") {
      response.end(JSON.stringify(logOf(origin)));
      return;
    }
    const { method = "", headers } = request;
    const seen: SeenCall = { method, path: `/${rest}`, headers, body, numPieces: 0, state: "open" };
    logOf(origin).push(seen);
    response.on("close", () => (seen.state = response.writableFinished ? "ended" : "closed"));
    await answer(seen, scripts.get(origin)?.shift() ?? {}, response);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const { port: chosen } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    url: `http://127.0.0.1:${chosen}`,
    port: chosen,
    script: (origin, ...replies) => void scripts.set(origin, replies),
    calls: logOf,
    kill: close,
    close,
  };
}

async function jsonBody(request: IncomingMessage): Promise<Record<string, unknown> | null> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text === "" ? null : (JSON.parse(text) as Record<string, unknown>);
}

async function answer(seen: SeenCall, reply: UpstreamReply, response: ServerResponse): Promise<void> {
  if (reply.isSilent) return;
  const { status = 200, headers = {} } = reply;
  if (reply.body !== undefined || status !== 200 || seen.body === null) {
    const body = reply.body ?? JSON.stringify({ object: "list", data: [] });
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream", ...headers });
  await stream(seen, seen.body, reply, response);
}

async function stream(
  seen: SeenCall,
  body: Record<string, unknown>,
  { fault, pauseMs }: UpstreamReply,
  response: ServerResponse,
): Promise<void> {
  const isChat = seen.path.endsWith("chat/completions");
  const { question, answered } = askedOf(body, isChat);
  const limit = (body.max_tokens as number | undefined) ?? NUM_WORDS_DEFAULT;
  const whole = usualPieces(question, answered.length + limit);
  const send = (value: object | string) =>
    response.write(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  const chunk = (delta: object, finish_reason: string | null) =>
    send({ id: "u", object: "x", model: body.model, choices: [{ index: 0, ...delta, finish_reason }] });
  if (isChat) chunk({ delta: { role: "assistant", content: "" } }, null);
  for (const piece of whole.slice(answered.length)) {
    if (fault !== undefined && seen.numPieces >= fault.afterPieces) return breakOff(fault, send, response);
    if (pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (response.closed) return;
    chunk(isChat ? { delta: { content: piece } } : { text: piece }, null);
    seen.numPieces++;
  }
  chunk(isChat ? { delta: {} } : { text: "" }, "length");
  const usage = { prompt_tokens: 10 + answered.length, completion_tokens: seen.numPieces, total_tokens: 0 };
  send({ choices: [], usage: { ...usage, prompt_tokens_details: { cached_tokens: 3 } } });
  send("[DONE]");
  response.end();
}

/** The last question, and the pieces of its answer that were given. */
function askedOf(body: Record<string, unknown>, isChat: boolean): { question: string; answered: string[] } {
  if (!isChat) return { question: String(body.prompt), answered: [] };
  const messages = body.messages as { role: string; content: string }[];
  const question = messages.findLast(({ role }) => role === "user")?.content ?? "";
  const last = messages.at(-1);
  const isContinued = body.continue_final_message === true && last?.role === "assistant";
  return { question, answered: isContinued ? last.content.split(/(?= )/) : [] };
}

function breakOff({ kind }: Fault, send: (value: object | string) => void, response: ServerResponse): void {
  if (kind === "stall") return;
  if (kind === "garbage") send("<html>502 Bad Gateway</html>");
  if (kind === "error") send({ error: { message: "CUDA error at http://10.0.0.7:8000/v1 with sk-upstream-secret" } });
  if (kind === "cut") response.write("", () => response.destroy());
  else response.end();
}
