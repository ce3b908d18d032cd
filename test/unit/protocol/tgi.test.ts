/** TGI's requests and answers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import { invalidRequest, notFound, overloaded, unavailable, upstreamFailed } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { type TgiFrame, tgiBody } from "../../../src/protocol/tgi/answer.ts";
import { tgiErrorBody, tgiStatus } from "../../../src/protocol/tgi/error-body.ts";
import { decodeTgiRequest } from "../../../src/protocol/tgi/generate-request.ts";
import { TgiStream } from "../../../src/protocol/tgi/stream.ts";
import { caught } from "./caught.ts";
import { delta, done, fault, finish, prompt, start, token } from "./events.ts";
import { texts } from "./texts.ts";

const decode = (parameters: object | null = null, fields: object = {}, stream: boolean | null = false) =>
  decodeTgiRequest({ inputs: "Hi", parameters, ...fields }, "r", stream);

const FRAME: TgiFrame = {
  ...{ inputs: "Oh", returnsInputs: false, wantsDetails: false, wantsPrompt: false, wantsTop: false },
  seed: null,
};

describe("requests", () => {
  test("are plain prompts, and greedy where nothing asks for more", () => {
    expect(decode()).toMatchObject({
      model: null,
      stream: false,
      generate: {
        prompts: [{ kind: "text", text: "Hi" }],
        sampling: { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1 },
        maxTokens: null,
        logprobs: null,
        echo: false,
      },
    });
  });

  test.each([
    [{ do_sample: true }, 1],
    [{ temperature: 0.5 }, 0.5],
    [{ temperature: 1 }, 0],
    [{ top_k: 5 }, 1],
    [{ top_p: 0.5 }, 1],
    [{ top_p: 1 }, 0],
    [{ repetition_penalty: 1.2 }, 0],
  ])("%j draw at temperature %d", (parameters, temperature) => {
    expect(decode(parameters).generate.sampling.temperature).toBe(temperature);
  });

  test.each<[object, object]>([
    [
      { max_new_tokens: 7, stop: ["a"], seed: 3 },
      { maxTokens: 7, stopStrings: ["a"], sampling: { seed: 3 } },
    ],
    [{ details: true }, { logprobs: 0 }],
    [{ details: true, top_n_tokens: 2 }, { logprobs: 2 }],
    [{ decoder_input_details: true }, { logprobs: 0, echo: true }],
    [{ grammar: { type: "regex", value: "a+" } }, { constraint: { kind: "regex", pattern: "a+" } }],
    [
      { grammar: { type: "json", value: { type: "object" } } },
      { constraint: { kind: "schema", schema: { type: "object" } } },
    ],
    [
      { grammar: { type: "json_schema", value: { name: "x", schema: { type: "array" } } } },
      { constraint: { kind: "schema", schema: { type: "array" } } },
    ],
  ])("%j become %j", (parameters, expected) => {
    expect(decode(parameters).generate).toMatchObject(expected);
  });

  test("name their model, or an adapter", () => {
    expect(decode(null, { model: "m" }).model).toBe("m");
    expect(decode({ adapter_id: "a" }, { model: "m" }).model).toBe("a");
  });

  test("are streamed as the path says, or the body", () => {
    expect(decode(null, { stream: true }, false).stream).toBe(false);
    expect(decode(null, { stream: true }, null)).toMatchObject({ stream: true, generate: { logprobs: 0 } });
    expect(decode(null, {}, null).stream).toBe(false);
  });

  test.each<[object, string]>([
    [{ temperature: 0 }, "parameters.temperature"],
    [{ temperature: "x" }, "parameters.temperature"],
    [{ top_p: 0 }, "parameters.top_p"],
    [{ best_of: 2 }, "parameters.best_of"],
    [{ typical_p: 0.9 }, "parameters.typical_p"],
    [{ truncate: 10 }, "parameters.truncate"],
    [{ watermark: true }, "parameters.watermark"],
    [{ stop: new Array(100_000).fill("x") }, "parameters.stop"],
    [{ max_new_tokens: 0 }, "parameters.max_new_tokens"],
    [{ grammar: { type: "regex", value: 5 } }, "parameters.grammar.value"],
    [{ grammar: { type: "json", value: "{}" } }, "parameters.grammar.value"],
    [{ grammar: { type: "gbnf", value: "" } }, "parameters.grammar.type"],
  ])("%j are refused for %s", (parameters, param) => {
    expect(caught(() => decode(parameters))).toMatchObject({ status: 400, param });
  });

  test("are refused without inputs, and where a stream should tell of the prompt", () => {
    expect(caught(() => decode(null, { inputs: "" }))).toMatchObject({ param: "inputs" });
    expect(caught(() => decode({ decoder_input_details: true }, {}, true))).toMatchObject({
      param: "parameters.decoder_input_details",
    });
  });
});

function write(events: GenerateEvent[], frame = FRAME): string {
  const encoder = new TgiStream(frame);
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

const eventsOf = (text: string) =>
  text
    .trimEnd()
    .split("\n\n")
    .map((event) => JSON.parse(event.replace(/^data: /, "")));

const T = (text: string) => token(text, -0.5, [[`${text}?`, -1]]);

describe("streams", () => {
  test.each<[string, GenerateEvent[], TgiFrame?]>([
    ["tgi", [start(), delta("Hé", 0, [T("Hé")]), delta("llo", 0, [T("l"), T("lo")]), finish(), done()]],
    [
      "tgi-top-full-text",
      [start(), delta("a", 0, [T("a")]), finish(0, "stop", "###"), done()],
      { ...FRAME, returnsInputs: true, wantsTop: true, seed: 5 },
    ],
    ["tgi-error", [start(), delta("Hi", 0, [T("Hi")]), delta("!", 0, [T("!")]), fault()]],
    ["tgi-empty", [start(), finish(), done()]],
  ])("%s", async (name, events, frame) => {
    await expect(write(events, frame)).toMatchFileSnapshot(`golden/${name}.sse`);
  });

  test("of tokens add up to the text, whatever characters and stop strings hold back", () => {
    const crab = [..."🦀"].length;
    expect(crab).toBe(1);
    const part = token("\uFFFD", -1);
    const events = [
      start(),
      delta("🦀", 0, [part, part, part]),
      delta("b", 0, [T("bc")]),
      delta("c", 0, []),
      delta("", 0, [T("</s>")]),
      finish(0, "length"),
      done(),
    ];
    const written = eventsOf(write(events));
    expect(written.map((one) => one.token.text)).toEqual(["", "", "🦀", "bc", ""]);
    expect(written.at(-1)).toMatchObject({ generated_text: "🦀bc", details: { finish_reason: "length" } });
  });

  test("have the text and the details in the last event only, and number their tokens", () => {
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1, maxLength: 6 }), (pieces) => {
        const events = eventsOf(
          write([start(), ...pieces.map((piece) => delta(piece, 0, [T(piece)])), finish(), done()]),
        );
        const text = pieces.join("");
        expect(events.map((one) => one.token.text).join("")).toBe(text);
        expect(events.map(({ index }) => index)).toEqual(pieces.map((_, i) => i + 1));
        expect(events.map((one) => one.generated_text)).toEqual(
          pieces.map((_, i) => (i === pieces.length - 1 ? text : null)),
        );
      }),
    );
  });
});

describe("whole answers", () => {
  const whole = (events: GenerateEvent[], frame: TgiFrame) => {
    const collector = new AnswerCollector(1);
    for (const event of events) collector.add(event);
    return tgiBody(collector.answer(), frame);
  };
  const TEXT = [start(), delta("Hi", 0, [T("Hi")]), finish(0, "length"), done()];

  test("are the text, behind the inputs where asked for", () => {
    expect(whole(TEXT, FRAME)).toEqual({ generated_text: "Hi" });
    expect(whole(TEXT, { ...FRAME, returnsInputs: true })).toEqual({ generated_text: "OhHi" });
  });

  test("have details", () => {
    expect(whole(TEXT, { ...FRAME, wantsDetails: true, wantsTop: true, seed: 3 })).toEqual({
      generated_text: "Hi",
      details: {
        finish_reason: "length",
        generated_tokens: 3,
        seed: 3,
        prefill: [],
        tokens: [{ id: 1, text: "Hi", logprob: -0.5, special: false }],
        top_tokens: [[{ id: 2, text: "Hi?", logprob: -1, special: false }]],
      },
    });
  });

  test("tell of the prompt's tokens", () => {
    const tokens = Array.from({ length: 7 }, (_, i) => token(`p${i}`, i === 0 ? null : -i));
    const events = [start(), prompt("Oh", 0, tokens), delta("Hi", 0, [T("Hi")]), finish(), done()];
    const { generated_text, details } = whole(events, { ...FRAME, wantsDetails: true, wantsPrompt: true });
    expect(generated_text).toBe("Hi");
    expect(details!.prefill.map(({ text, logprob }) => [text, logprob])).toEqual(
      tokens.map(({ text, logprob }) => [text, logprob]),
    );
    expect(details!.tokens).toHaveLength(1);
  });
});

test.each([
  [invalidRequest("x"), 422, "validation"],
  [notFound("x"), 404, "validation"],
  [overloaded(1, 1), 429, "overloaded"],
  [upstreamFailed("x"), 424, "generation"],
  [unavailable("x", 1), 503, "unhealthy"],
])("error %# has status %d and type %s", (error, status, errorType) => {
  expect(tgiStatus(error)).toBe(status);
  expect(tgiErrorBody(error)).toEqual({ error: error.message, error_type: errorType });
});
