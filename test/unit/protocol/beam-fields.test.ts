/** Beam search as clients ask for it: the same fields in both APIs, and a clear no to what it cannot do. */
import { describe, expect, it, test } from "vitest";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { decodeSessionMessage } from "../../../src/protocol/sessions.ts";
import type { WireRequest } from "../../../src/protocol/wire-request.ts";
import { caught } from "./caught.ts";

const APIS: [string, (fields: object) => WireRequest][] = [
  ["chat", (fields) => decodeChatRequest({ model: "m", messages: [{ role: "user", content: "hi" }], ...fields }, "r")],
  ["completions", (fields) => decodeCompletionRequest({ model: "m", prompt: "hi", ...fields }, "r")],
];

describe.each(APIS)("%s", (_name, decode) => {
  const beams = (fields: object) => decode({ use_beam_search: true, ...fields }).generate;

  it("searches with n beams, or with best_of of which n are answered", () => {
    expect(beams({ n: 3 })).toMatchObject({ n: 3, beams: { width: 3, lengthPenalty: 1, stopsEarly: false } });
    expect(beams({ n: 2, best_of: 5 })).toMatchObject({ n: 2, beams: { width: 5 } });
    expect(beams({})).toMatchObject({ n: 1, beams: { width: 1 } });
    expect(beams({ length_penalty: 0.5, early_stopping: true }).beams).toMatchObject({
      lengthPenalty: 0.5,
      stopsEarly: true,
    });
    expect(beams({ early_stopping: "never" }).beams).toMatchObject({ stopsEarly: false });
  });

  it("takes whatever draws, since nothing is drawn, and the neutral values of what it refuses", () => {
    const fields = { temperature: 0.7, top_p: 0.5, top_k: 3, min_p: 0.1, seed: 7, stop_token_ids: [5] };
    const neutral = { stop: [], logit_bias: {}, repetition_penalty: 1, presence_penalty: 0, stream: false };
    expect(beams({ ...fields, ...neutral, n: 2 }).beams).toEqual({ width: 2, lengthPenalty: 1, stopsEarly: false });
  });

  it("draws without use_beam_search, whatever else is said of a search", () => {
    for (const fields of [{}, { use_beam_search: false, best_of: 1 }, { length_penalty: 2, early_stopping: true }]) {
      expect(decode(fields).generate.beams).toBeNull();
    }
    expect(caught(() => decode({ best_of: 2 })).message).toContain('without "use_beam_search": true');
  });

  test.each([
    ["stream", { stream: true }, 'Set "stream": false'],
    ["best_of", { n: 3, best_of: 2 }, "at least n (here 3), but is 2"],
    ["best_of", { best_of: 11 }, "at most 10 with beam search, but is 11"],
    ["n", { n: 11 }, "at most 10 with beam search, but is 11"],
    ["max_tokens", { max_tokens: 0 }, "at least 1"],
    ["stop", { stop: "x" }, "together with"],
    ["logit_bias", { logit_bias: { "1": 1 } }, "together with"],
    ["repetition_penalty", { repetition_penalty: 1.1 }, "together with"],
    ["presence_penalty", { presence_penalty: 1 }, "together with"],
    ["frequency_penalty", { frequency_penalty: 1 }, "together with"],
    ["length_penalty", { length_penalty: "long" }, "must be a number"],
    ["early_stopping", { early_stopping: "sometimes" }, "early_stopping"],
  ])("refuses %s with %j", (param, fields, words) => {
    const error = caught(() => beams(fields));
    expect(error).toMatchObject({ status: 400, param });
    expect(error.message).toContain(words);
  });
});

test("a session draws", () => {
  for (const fields of [{ use_beam_search: true }, { best_of: 2 }]) {
    expect(caught(() => decodeSessionMessage({ content: "hi", ...fields }, "r"))).toMatchObject({ status: 400 });
  }
});
