/** Requests to other servers: what our own decoders read from them is the request again. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Constraint, GenerateRequest, Prompt, SamplingParams } from "../../../src/protocol/generate.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { echoedTexts, encodeUpstreamRequest } from "../../../src/protocol/openai/upstream-request.ts";

const OPTIONS = { model: "there", knowsCacheSalt: true, answerSoFar: null };

const sampling: fc.Arbitrary<SamplingParams> = fc.record({
  temperature: fc.double({ min: 0, max: 2, noNaN: true }).map(positiveZero),
  topK: fc.nat(100),
  topP: fc.double({ min: 0, max: 1, noNaN: true }).map(positiveZero),
  minP: fc.double({ min: 0, max: 1, noNaN: true }).map(positiveZero),
  repetitionPenalty: fc.double({ min: 0.1, max: 10, noNaN: true }),
  presencePenalty: fc.double({ min: -2, max: 2, noNaN: true }).map(positiveZero),
  frequencyPenalty: fc.double({ min: -2, max: 2, noNaN: true }).map(positiveZero),
  logitBias: fc
    .uniqueArray(fc.tuple(fc.nat(1000), fc.integer({ min: -100, max: 100 })), { selector: ([id]) => id, maxLength: 4 })
    .map((pairs) => pairs.sort(([a], [b]) => a - b)),
  seed: fc.option(fc.integer()),
});

/** JSON knows no other zero, and nobody means one. */
function positiveZero(value: number): number {
  return value === 0 ? 0 : value;
}

const json = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
const identifier = fc.string({ minLength: 1, maxLength: 9 });
const name = fc.constantFrom("f", "get_weather", "a.b");

const tools = fc.uniqueArray(
  fc.record({ name, description: fc.string(), parameters: fc.option(json), strict: fc.boolean() }),
  { selector: (tool) => tool.name, minLength: 1 },
);

/** Only what asks for something is written. */
const templateArguments = fc
  .record({ enable_thinking: fc.boolean(), reasoning_effort: fc.constantFrom("low", "high") }, { requiredKeys: [] })
  .filter((variables) => Object.keys(variables).length > 0);

const constraint: fc.Arbitrary<Constraint> = fc.oneof(
  fc.constant({ kind: "json" as const }),
  fc.record({ kind: fc.constant("schema" as const), schema: json }),
  fc.record({ kind: fc.constant("regex" as const), pattern: fc.string() }),
  fc.record({ kind: fc.constant("choice" as const), choices: fc.array(fc.string(), { minLength: 1, maxLength: 3 }) }),
  fc.record({ kind: fc.constant("grammar" as const), text: fc.string() }),
);

const chatPrompt: fc.Arbitrary<Prompt> = fc.record({
  kind: fc.constant("chat" as const),
  messages: fc.array(
    fc.oneof(
      fc.record({ role: fc.constant("tool" as const), content: fc.string(), toolCallId: identifier }),
      fc.record({
        role: fc.constant("assistant" as const),
        content: fc.string(),
        reasoning: fc.string({ minLength: 1 }),
        toolCalls: fc.array(
          fc.record({ id: identifier, name: identifier, arguments: json.map((value) => JSON.stringify(value)) }),
          { minLength: 1, maxLength: 3 },
        ),
      }),
      fc.record({ role: fc.constantFrom("system" as const, "user" as const), content: fc.string() }),
      fc.record({ role: fc.constant("assistant" as const), content: fc.string(), name: fc.string() }),
    ),
    { minLength: 1, maxLength: 4 },
  ),
});

const plainPrompts: fc.Arbitrary<Prompt[]> = fc.oneof(
  fc.array(fc.record({ kind: fc.constant("text" as const), text: fc.string() }), { minLength: 1, maxLength: 3 }),
  fc.array(
    fc.record({
      kind: fc.constant("tokens" as const),
      tokens: fc.array(fc.nat(1000), { minLength: 1, maxLength: 5 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
);

const requests = (prompts: fc.Arbitrary<Prompt[]>, logprobsMax: number): fc.Arbitrary<GenerateRequest> =>
  fc.record({
    requestId: fc.constant("r1"),
    model: fc.constant("there"),
    prompts,
    n: fc.integer({ min: 1, max: 3 }),
    beams: fc.constant(null),
    sampling,
    maxTokens: fc.integer({ min: 0, max: 99 }),
    stopStrings: fc.array(fc.string({ minLength: 1, maxLength: 9 }), { maxLength: 3 }),
    stopTokenIds: fc.array(fc.nat(99), { maxLength: 3 }),
    ignoreEos: fc.boolean(),
    constraint: fc.option(constraint),
    toolChoice: fc.constant("none"),
    parallelToolCalls: fc.constant(true),
    minTokens: fc.constant(0),
    allowedTokenIds: fc.option(fc.array(fc.nat(1000), { minLength: 1, maxLength: 3 })),
    badWords: fc.array(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 2 }),
    priority: fc.integer({ min: -9, max: 9 }),
    logprobs: fc.option(fc.nat(logprobsMax)),
    echo: fc.constant(false),
    cacheSalt: fc.string({ maxLength: 9 }),
  });

/** What arrives: JSON text. */
const sent = (body: object): unknown => JSON.parse(JSON.stringify(body));

test("a chat is the same at the other end", () => {
  const chats = requests(
    chatPrompt.map((prompt) => [prompt]),
    20,
  );
  fc.assert(
    fc.property(chats, (request) => {
      const { path, body } = encodeUpstreamRequest(request, OPTIONS);
      expect(path).toBe("chat/completions");
      const { generate, style } = decodeChatRequest(sent(body), "r1");
      expect(generate).toEqual(request);
      expect(style).toEqual({ stream: true, includeUsage: true });
    }),
  );
});

test("tools, the choice among them and variables of the template are the same at the other end", () => {
  const calling = fc
    .record({
      request: requests(
        fc.tuple(chatPrompt, tools, fc.option(templateArguments)).map(([prompt, offered, variables]) => [
          {
            ...(prompt as Extract<Prompt, { kind: "chat" }>),
            tools: offered,
            ...(variables !== null && { templateArguments: variables }),
          },
        ]),
        20,
      ),
      toolChoice: fc.constantFrom("auto" as const, "required" as const, null),
      parallelToolCalls: fc.boolean(),
    })
    .map(({ request, toolChoice, parallelToolCalls }): GenerateRequest => {
      const [prompt] = request.prompts as [Extract<Prompt, { kind: "chat" }>];
      return { ...request, toolChoice: toolChoice ?? { name: prompt.tools![0]!.name }, parallelToolCalls };
    });
  fc.assert(
    fc.property(calling, (request) => {
      const { body } = encodeUpstreamRequest(request, OPTIONS);
      expect(decodeChatRequest(sent(body), "r1").generate).toEqual(request);
    }),
  );
});

test("plain prompts are the same at the other end, as text or as tokens", () => {
  fc.assert(
    fc.property(requests(plainPrompts, 5), (request) => {
      const { path, body } = encodeUpstreamRequest(request, OPTIONS);
      expect(path).toBe("completions");
      expect(decodeCompletionRequest(sent(body), "r1").generate).toEqual(request);
    }),
  );
});

const PLAIN: GenerateRequest = {
  ...decodeChatRequest({ model: "m", messages: [{ role: "user", content: "hi" }] }, "r1").generate,
};

test("what asks for nothing is not written: strict servers refuse fields that they do not know", () => {
  const { body } = encodeUpstreamRequest(PLAIN, { ...OPTIONS, knowsCacheSalt: false });
  expect(Object.keys(body).sort()).toEqual(["messages", "model", "stream", "stream_options", "temperature"]);
});

test("a salt is for servers that know it", () => {
  const salted = { ...PLAIN, cacheSalt: "mine" };
  expect(encodeUpstreamRequest(salted, OPTIONS).body).toMatchObject({ cache_salt: "mine" });
  expect(encodeUpstreamRequest(salted, { ...OPTIONS, knowsCacheSalt: false }).body).not.toHaveProperty("cache_salt");
});

test("an answer that goes on is given its first words", () => {
  const { body } = encodeUpstreamRequest(PLAIN, { ...OPTIONS, answerSoFar: "Well, " });
  expect(body).toMatchObject({
    messages: [
      { role: "user", content: "hi" },
      { role: "assistant", content: "Well, " },
    ],
    continue_final_message: true,
    add_generation_prompt: false,
  });
});

test("a text is echoed here, where only a server can it is asked to", () => {
  const text: GenerateRequest = { ...PLAIN, prompts: [{ kind: "text", text: "Once" }], echo: true };
  expect(encodeUpstreamRequest(text, OPTIONS).body).not.toHaveProperty("echo");
  expect(echoedTexts(text)).toEqual(["Once"]);
  const scored = { ...text, logprobs: 1 };
  expect(encodeUpstreamRequest(scored, OPTIONS).body).toMatchObject({ echo: true, logprobs: 1 });
  expect(echoedTexts(scored)).toBeNull();
  const tokens: GenerateRequest = { ...text, prompts: [{ kind: "tokens", tokens: [1, 2] }] };
  expect(encodeUpstreamRequest(tokens, OPTIONS).body).toMatchObject({ echo: true, prompt: [1, 2] });
  expect(echoedTexts(tokens)).toBeNull();
});

test("a search with beams is refused: it cannot be streamed", () => {
  const beams = { width: 4, lengthPenalty: 1, stopsEarly: false };
  const refused = () => encodeUpstreamRequest({ ...PLAIN, beams }, OPTIONS);
  expect(refused).toThrow(/'use_beam_search' is not supported here/);
});
