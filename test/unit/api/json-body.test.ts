import { describe, expect, test } from "vitest";
import { readJsonBody } from "../../../src/api/json-body.ts";
import { ApiError } from "../../../src/protocol/errors.ts";
import { BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";

const post = (body: BodyInit | null, headers: Record<string, string> = { "content-type": "application/json" }) =>
  new Request("http://x/", { method: "POST", body, headers, ...{ duplex: "half" } });

async function refusal(request: Request): Promise<ApiError> {
  const error = await readJsonBody(request).then(
    () => null,
    (cause) => cause,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

/** A body without content-length that counts what is taken of it. */
function endless(chunk: Uint8Array): {
  body: ReadableStream<Uint8Array>;
  taken: () => number;
  cancelled: () => boolean;
} {
  let numBytes = 0;
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        numBytes += chunk.length;
        controller.enqueue(chunk);
      },
      cancel() {
        isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { body, taken: () => numBytes, cancelled: () => isCancelled };
}

describe("media types", () => {
  test.each(["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])(
    "%s passes",
    async (type) => {
      expect(await readJsonBody(post("{}", { "content-type": type }))).toEqual({});
    },
  );

  test("none passes", async () => {
    expect(await readJsonBody(post(new TextEncoder().encode("{}"), {}))).toEqual({});
  });

  test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "json"])(
    "%s is a 415: a foreign page could send it unasked",
    async (type) => {
      const error = await refusal(post("{}", { "content-type": type }));
      expect(error).toMatchObject({ status: 415, code: "unsupported_media_type" });
      expect(error.message).toContain(type);
    },
  );

  test("a compressed body is a 415", async () => {
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    expect((await refusal(post("{}", headers))).message).toContain("gzip");
  });
});

describe("size", () => {
  const text = (numBytes: number) => `"${"x".repeat(numBytes - 2)}"`;

  test("the limit itself passes, one byte more is a 413", async () => {
    expect(await readJsonBody(post(text(BODY_BYTES_MAX)))).toHaveLength(BODY_BYTES_MAX - 2);
    const error = await refusal(post(text(BODY_BYTES_MAX + 1)));
    expect(error).toMatchObject({ status: 413, code: "body_too_large" });
    expect(error.message).toContain(String(BODY_BYTES_MAX));
  });

  test("an announced size is refused before a byte is read", async () => {
    const { body, taken } = endless(new Uint8Array(1024));
    const headers = { "content-type": "application/json", "content-length": "999999999" };
    expect((await refusal(post(body, headers))).message).toContain("999999999");
    expect(taken()).toBe(0);
  });

  test("an endless body is cut at the limit, whatever it announces", async () => {
    const { body, taken, cancelled } = endless(new Uint8Array(65_536).fill(0x20));
    const headers = { "content-type": "application/json", "content-length": "10" };
    expect((await refusal(post(body, headers))).status).toBe(413);
    expect(taken()).toBeLessThanOrEqual(BODY_BYTES_MAX + 2 * 65_536);
    expect(cancelled()).toBe(true);
  });
});

describe("text", () => {
  test.each([
    ["{", "not valid JSON"],
    ["{'a':1}", "not valid JSON"],
    ['{"a":1}}', "not valid JSON (at position 7"],
    ["NaN", "not valid JSON"],
    ["", "is empty"],
  ])("%j is a 400", async (text, words) => {
    const error = await refusal(post(text));
    expect(error).toMatchObject({ status: 400, param: null });
    expect(error.message).toContain(words);
  });

  test("the message does not quote the body", async () => {
    expect((await refusal(post('{"password": hunter2}'))).message).not.toContain("hunter");
  });

  test("broken UTF-8 is a 400, not replacement characters", async () => {
    expect((await refusal(post(Uint8Array.of(0x22, 0xff, 0x22)))).message).toContain("UTF-8");
  });

  test("characters cut between chunks are whole again; a byte order mark is skipped", async () => {
    const bytes = new TextEncoder().encode('\uFEFF{"a":"🦀"}');
    const pieces = [...bytes].map((byte) => Uint8Array.of(byte));
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const piece = pieces.shift();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
    });
    expect(await readJsonBody(post(body))).toEqual({ a: "🦀" });
  });

  test("nesting as deep as the body is long does no harm", async () => {
    const depth = 500_000;
    const value = await readJsonBody(post("[".repeat(depth) + "]".repeat(depth)));
    expect(Array.isArray(value)).toBe(true);
  });

  test("an empty body may stand for something", async () => {
    expect(await readJsonBody(post(null, {}), {})).toEqual({});
  });

  test("a connection that breaks within the body is the client's going, not a bug", async () => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError("connection lost"));
      },
    });
    expect((await refusal(post(body))).status).toBe(499);
  });
});
