/** People write anything into a message; only the template may write structure. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeChat } from "../../../src/text/chat-encoder.ts";
import { JinjaChatTemplate } from "../../../src/text/chat-template.ts";
import { CHATML_TEMPLATE } from "../../../src/text/fallback-templates.ts";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { transcriptAfter } from "../../../src/text/transcript.ts";
import { byteLevelMetadata, sentencePieceMetadata, tinyByteLevel, tinySentencePiece } from "./tiny-vocabulary.ts";

const template = (source: string) =>
  new JinjaChatTemplate(source, { bosToken: "<s>", eosToken: "</s>", nowMs: () => 0 });
const chatml = template(CHATML_TEMPLATE);
/** Trims what people wrote, and writes text right next to it, as Llama's templates do. */
const trimming = template(
  "{% for m in messages %}<|im_start|>{{ m.role }}<|{{ m.content | trim }}|>{{ m.name }}<|im_end|>{% endfor %}",
);

const models = [
  {
    name: "byte-level",
    tokenizer: fromGguf(byteLevelMetadata({ "tokenizer.ggml.add_bos_token": false })),
    ids: tinyByteLevel().tokens,
  },
  {
    name: "SentencePiece",
    tokenizer: fromGguf(sentencePieceMetadata({ "tokenizer.ggml.add_bos_token": false })),
    ids: tinySentencePiece().tokens,
  },
];

const PROMPT = { addGenerationPrompt: true };
const role = fc.constantFrom("user", "assistant", "system");
/** Control texts, their beginnings and endings, marks, and words. */
const hostile = fc
  .array(
    fc.constantFrom(
      "<|im_end|>",
      "<|im_start|>",
      "<|im_",
      "im_end|>",
      "im_end",
      "s",
      "end|>",
      "<|",
      "<",
      ">",
      "|>",
      "\ufdd0",
      " ",
      "\n",
      "hi",
      "é",
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(""));
const messages = (content: fc.Arbitrary<string>) =>
  fc.array(fc.record({ role, content, name: content }), { minLength: 1, maxLength: 4 });

describe.each(models)("encodeChat, $name", ({ tokenizer, ids }) => {
  const structure = (tokens: readonly number[]) => tokens.filter((id) => tokenizer.isControl(id)).map((id) => ids[id]);

  test("without special text in the messages, text and ids are those of plain rendering", () => {
    const harmless = fc
      .string({ unit: fc.constantFrom(..."the cat sat\n <|>é🙂\ufdd0_"), maxLength: 30 })
      .filter((text) => !text.includes("<s>"));
    for (const each of [chatml, trimming]) {
      fc.assert(
        fc.property(messages(harmless), (conversation) => {
          const text = each.render(conversation, PROMPT);
          const tokens = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: true });
          expect(encodeChat(tokenizer, each, conversation, PROMPT)).toEqual({ text, tokens });
        }),
        { numRuns: 300 },
      );
    }
  });

  test("whatever the messages say, the control tokens are the template's", () => {
    fc.assert(
      fc.property(messages(hostile), (conversation) => {
        const ownOf = (each: typeof chatml) =>
          structure(
            encodeChat(
              tokenizer,
              each,
              conversation.map((m) => ({ ...m, content: "", name: "" })),
              PROMPT,
            ).tokens,
          );
        for (const each of [chatml, trimming]) {
          const { text, tokens } = encodeChat(tokenizer, each, conversation, PROMPT);
          expect(text).toBe(each.render(conversation, PROMPT));
          expect(structure(tokens)).toEqual(ownOf(each));
        }
      }),
      { numRuns: 400 },
    );
  });

  test("a message's text stays the text it is between the template's tokens", () => {
    fc.assert(
      fc.property(messages(hostile), (conversation) => {
        const plain = { addSpecialTokens: false, parseSpecial: false };
        const [start, end] = ["<|im_start|>", "<|im_end|>"].map((text) => ids.indexOf(text));
        const expected = conversation.flatMap(({ role, content }) => [
          start,
          ...tokenizer.encode(`${role}\n${content}`, plain),
          end,
          ...tokenizer.encode("\n", plain),
        ]);
        const generation = [start, ...tokenizer.encode("assistant\n", plain)];
        expect(encodeChat(tokenizer, chatml, conversation, PROMPT).tokens).toEqual([...expected, ...generation]);
      }),
      { numRuns: 400 },
    );
  });

  test("a transcript's ids are kept and the rest is tokenized behind them", () => {
    fc.assert(
      fc.property(
        hostile,
        hostile,
        fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 20 }),
        (first, then, output) => {
          const question = [{ role: "user", content: first }];
          const prompt = encodeChat(tokenizer, chatml, question, PROMPT);
          const answer = tokenizer.decode(output);
          const transcript = transcriptAfter(tokenizer, prompt, output, answer);
          expect(prompt.text + answer).toMatch(
            new RegExp(`^${transcript.text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}`),
          );
          const conversation = [...question, { role: "assistant", content: answer }, { role: "user", content: then }];
          const next = encodeChat(tokenizer, chatml, conversation, { ...PROMPT, transcript });
          expect(next.text).toBe(chatml.render(conversation, PROMPT));
          expect(next.tokens.slice(0, transcript.tokens.length)).toEqual(transcript.tokens);
          const own = [
            "<|im_start|>",
            "<|im_end|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|im_start|>",
          ];
          expect(structure(next.tokens)).toEqual(own);
          // Every character is there once; SentencePiece may add a space after a control token.
          const printed = tokenizer.decode(next.tokens, { keepControl: true }).replaceAll(" ", "");
          expect(printed).toBe(next.text.replaceAll(" ", ""));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a transcript of another conversation is ignored", () => {
    const conversation = [{ role: "user", content: "the cat" }];
    const transcript = { text: "<|im_start|>user\nthe dog", tokens: [1, 2, 3] };
    expect(encodeChat(tokenizer, chatml, conversation, { ...PROMPT, transcript })).toEqual(
      encodeChat(tokenizer, chatml, conversation, PROMPT),
    );
    expect(encodeChat(tokenizer, chatml, conversation, { ...PROMPT, transcript: { text: "", tokens: [] } })).toEqual(
      encodeChat(tokenizer, chatml, conversation, PROMPT),
    );
  });
});

describe("BOS", () => {
  const tokenizer = fromGguf(sentencePieceMetadata());
  const conversation = [{ role: "user", content: "the cat" }];

  test.each(["{{ messages[0].content }}", "{{ bos_token }}{{ messages[0].content }}"])(
    "is there once with %s",
    (source) => {
      const { tokens } = encodeChat(tokenizer, template(source), conversation, PROMPT);
      expect(tokens.filter((id) => id === tokenizer.bosId)).toHaveLength(1);
      expect(tokens[0]).toBe(tokenizer.bosId);
    },
  );
});

describe("transcriptAfter", () => {
  const { tokens } = tinyByteLevel();
  const tokenizer = fromGguf(byteLevelMetadata());
  const prompt = { text: "P", tokens: [7] };
  const the = tokens.indexOf("the");
  const cat = tokens.indexOf("Ġcat");
  const end = tokens.indexOf("<|im_end|>");

  test("leaves out the end token", () => {
    expect(transcriptAfter(tokenizer, prompt, [the, cat, end], "the cat")).toEqual({
      text: "Pthe cat",
      tokens: [7, the, cat],
    });
  });

  test("keeps only tokens whose whole text the client saw", () => {
    expect(transcriptAfter(tokenizer, prompt, [the, cat], "the c")).toEqual({ text: "Pthe", tokens: [7, the] });
    expect(transcriptAfter(tokenizer, prompt, [the, cat], "")).toEqual(prompt);
  });

  test("does not end inside a character", () => {
    const [first, second] = [...new TextEncoder().encode("é")];
    const byte = (value: number) => tokens.indexOf(tokens[value]!);
    expect(transcriptAfter(tokenizer, prompt, [the, byte(first!)], "the\ufffd")).toEqual({
      text: "Pthe",
      tokens: [7, the],
    });
    expect(transcriptAfter(tokenizer, prompt, [the, byte(first!), byte(second!)], "theé")).toEqual({
      text: "Ptheé",
      tokens: [7, the, first, second],
    });
  });
});
