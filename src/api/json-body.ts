/**
 * Reads a request's JSON body. The limit holds while reading, whatever content-length says, so a client cannot fill the
 * memory. Only JSON media types pass (or none at all): a page of another origin can send those only after a preflight.
 */
import { bodyTooLarge, clientClosedRequest, invalidRequest, unsupportedMediaType } from "../protocol/errors.ts";
import { BODY_BYTES_MAX } from "../protocol/limits.ts";

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** @param empty what an empty body stands for; absent = an empty body is an error */
export async function readJsonBody(request: Request, empty?: unknown): Promise<unknown> {
  checkMediaType(request.headers);
  const bytes = await readBytes(request);
  if (bytes.length === 0) {
    if (empty !== undefined) return empty;
    throw invalidRequest("The request body is empty. Send a JSON object.");
  }
  return parse(bytes);
}

function checkMediaType(headers: Headers): void {
  const type = headers.get("content-type");
  if (type !== null && type.trim() !== "" && !JSON_TYPE.test(type.trim())) {
    throw unsupportedMediaType("content-type", type, "Send 'content-type: application/json'.");
  }
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    throw unsupportedMediaType("content-encoding", encoding, "Send the body without compression.");
  }
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > BODY_BYTES_MAX) throw bodyTooLarge(announced, BODY_BYTES_MAX);
  if (request.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let numBytes = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw clientClosedRequest(); // A body breaks off only when the connection does.
    });
    if (done) break;
    numBytes += value.length;
    if (numBytes > BODY_BYTES_MAX) {
      await reader.cancel();
      throw bodyTooLarge(null, BODY_BYTES_MAX);
    }
    chunks.push(value);
  }
  return concatenate(chunks, numBytes);
}

function concatenate(chunks: Uint8Array[], numBytes: number): Uint8Array {
  const bytes = new Uint8Array(numBytes);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function parse(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw invalidRequest("The request body is not valid UTF-8.");
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidRequest(`The request body is not valid JSON${whereOf(cause)}.`);
  }
}

/** V8 says where, but also quotes the text, which is not for logs and messages. */
function whereOf(cause: unknown): string {
  const position = /at position \d+( \(line \d+ column \d+\))?/.exec(String(cause))?.[0];
  return position === undefined ? "" : ` (${position})`;
}
