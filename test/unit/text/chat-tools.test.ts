/** Tools in prompts: told by templates that take them, written into the system message for others, and never structure. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Tool } from "../../../src/protocol/generate.ts";
import type { Message } from "../../../src/text/chat.ts";
import { encodeChat } from "../../../src/text/chat-encoder.ts";
import { JinjaChatTemplate } from "../../../src/text/chat-template.ts";
import { CHATML_TEMPLATE } from "../../../src/text/fallback-templates.ts";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { templateDialectOf } from "../../../src/text/template-dialect.ts";
import { byteLevelMetadata } from "./tiny-vocabulary.ts";

const tokenizer = fromGguf(byteLevelMetadata({ "tokenizer.ggml.add_bos_token": false }));
const template = (source: string) =>
  new JinjaChatTemplate(source, { bosToken: "<s>", eosToken: "</s>", nowMs: () => 0 });

/** Takes tools as Hermes' and Qwen's do. */
const AWARE =
  "{% if tools %}<|im_start|>system\n<tool_call>{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>{% endif %}" +
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}" +
  "{% if m.tool_calls %}{% for call in m.tool_calls %}[{{ call.id }} {{ call.function.name }} " +
  "{{ call.function.arguments | tojson }}]{% endfor %}{% endif %}" +
  "{% if m.tool_call_id %}({{ m.tool_call_id }}){% endif %}<|im_end|>{% endfor %}" +
  "{% if enable_thinking is defined %}{{ enable_thinking }}{% endif %}{% if effort %}{{ effort }}{% endif %}";

const WEATHER: Tool = {
  name: "get_weather",
  description: "The weather.",
  parameters: { type: "object", properties: { city: { type: "string" } } },
  strict: false,
};
const CONVERSATION: Message[] = [
  { role: "user", content: "hi" },
  {
    role: "assistant",
    content: "",
    toolCalls: [{ id: "call_abc123456789", name: "get_weather", arguments: '{"city": "Paris"}' }],
  },
  { role: "tool", content: "7 degrees", toolCallId: "call_abc123456789" },
];

const textOf = (source: string, messages: Message[], tools: Tool[], templateArguments = {}) =>
  encodeChat(tokenizer, template(source), messages, { addGenerationPrompt: true, tools, templateArguments }).text;

describe("a template that takes tools", () => {
  test("gets them in OpenAI's shape, arguments of calls as objects, and variables", () => {
    expect(textOf(AWARE, CONVERSATION, [WEATHER], { enable_thinking: false })).toBe(
      '<|im_start|>system\n<tool_call>{"type": "function", "function": {"name": "get_weather", "description": ' +
        '"The weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}<|im_end|>' +
        '<|im_start|>user\nhi<|im_end|><|im_start|>assistant\n[call_abc123456789 get_weather {"city": "Paris"}]' +
        "<|im_end|><|im_start|>tool\n7 degrees(call_abc123456789)<|im_end|>false",
    );
  });

  test("gets short ids where it wants them, and null for words that are not there", () => {
    const strict = `${AWARE}{% if messages[1].content is none %}null{% endif %}{% if "x" | length != 9 %}{% endif %}`;
    expect(templateDialectOf(strict)).toMatchObject({ hasShortCallIds: true, hasNullContent: true });
    const text = textOf(strict, CONVERSATION, []);
    expect(text).toContain("[123456789 get_weather");
    expect(text).toContain("(123456789)");
    expect(text).toContain("null");
  });

  test("gets arguments that are no JSON as text", () => {
    const [call] = CONVERSATION[1]!.toolCalls!;
    const message = { ...CONVERSATION[1]!, toolCalls: [{ ...call!, arguments: "oops" }] };
    expect(textOf(AWARE, [message], [])).toContain('get_weather "oops"');
  });

  test("no variable takes the place of the conversation or of its own words", () => {
    const source = "{{ messages | length }}{{ bos_token }}{{ add_generation_prompt }}{{ range(2) | length }}";
    const stolen = { messages: [], bos_token: "no", add_generation_prompt: false, range: 1, raise_exception: 1 };
    expect(textOf(source, CONVERSATION, [], stolen)).toBe("3<s>true2");
  });
});

describe("a template that knows nothing of tools", () => {
  test("gets them in the system message, calls and results in messages that it knows", () => {
    const text = textOf(CHATML_TEMPLATE, [{ role: "system", content: "Be kind." }, ...CONVERSATION], [WEATHER]);
    expect(text).toContain("<|im_start|>system\nBe kind.\n\n# Tools\n");
    expect(text).toContain('"name":"get_weather"');
    expect(text).toContain(
      '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": {"city":"Paris"}}\n</tool_call><|im_end|>',
    );
    expect(text).toContain("<|im_start|>user\n<tool_response>\n7 degrees\n</tool_response><|im_end|>");
  });

  test("has results of one turn in one message, and calls without tools, too", () => {
    const twice = [...CONVERSATION, { ...CONVERSATION[2]!, content: "8 degrees" }];
    const text = textOf(CHATML_TEMPLATE, twice, []);
    expect(text).not.toContain("# Tools");
    expect(text).toContain(
      "<|im_start|>user\n<tool_response>\n7 degrees\n</tool_response>\n<tool_response>\n8 degrees\n</tool_response><|im_end|>",
    );
  });

  test("and refuses system messages gets them with the first question", () => {
    const refusing = `{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No.') }}{% endif %}${"[{{ m.role }}] {{ m.content }}"}{% endfor %}`;
    const text = textOf(refusing, [{ role: "user", content: "hi" }], [WEATHER]);
    expect(text).toMatch(/^\[user\] # Tools\n[\s\S]*\n\nhi$/);
  });

  test("is what a template of an unknown format counts as", () => {
    expect(templateDialectOf("{% for t in tools %}<tool_call><arg_key>{% endfor %}").syntax.tools).toMatchObject({
      format: { name: "hermes" },
      isTemplates: false,
    });
  });
});

describe("the format of a template", () => {
  test.each([
    ["hermes", "{{ tools }}<tool_call>"],
    ["llama", "{{ tools }}Environment: ipython"],
    ["llama", "{{ tools }}<|python_tag|>"],
    ["mistral", "{{ tools }}[TOOL_CALLS]["],
    ["granite", "{{ tools }}{{ available_tools }}<|tool_call|>"],
  ])("%s is known by its marks", (name, source) => {
    expect(templateDialectOf(source).syntax.tools).toMatchObject({ format: { name }, isTemplates: true });
  });

  test("thoughts are known by their tag", () => {
    expect(templateDialectOf("<think>").syntax.thinking).toEqual({ open: "<think>", close: "</think>" });
    expect(templateDialectOf("x").syntax.thinking).toBeNull();
  });
});

test("nothing that a client writes anywhere becomes a control token", () => {
  const hostile = fc
    .array(
      fc.constantFrom("<|im_end|>", "<|im_start|>", "<|im_", "end|>", "<|", "|>", "\ufdd0", " ", "\n", "hi", '"', "\\"),
      {
        maxLength: 5,
      },
    )
    .map((parts) => parts.join(""));
  const json = fc.dictionary(hostile, fc.oneof(hostile, fc.array(hostile, { maxLength: 2 })), { maxKeys: 3 });
  /** JSON may spell any character as an escape. */
  const escaped = json.map((value) => JSON.stringify(value).replaceAll("<", "\\u003c").replaceAll("|", "\\u007c"));
  const controlIds = (tokens: readonly number[]) => tokens.filter((id) => tokenizer.isControl(id));
  const chat = fc.record({
    content: hostile,
    id: hostile,
    name: hostile,
    arguments: fc.oneof(hostile, escaped),
    tool: fc.record({ name: hostile, description: hostile, parameters: json, strict: fc.boolean() }),
    effort: fc.oneof<fc.Arbitrary<unknown>[]>(hostile, json),
  });
  const harmless = { name: "a", description: "a", parameters: {}, strict: false };
  fc.assert(
    fc.property(chat, fc.constantFrom(AWARE, CHATML_TEMPLATE), (said, source) => {
      const encoded = (one: typeof said) =>
        encodeChat(
          tokenizer,
          template(source),
          [
            { role: "user", content: one.content },
            { role: "assistant", content: "", toolCalls: [{ id: one.id, name: one.name, arguments: one.arguments }] },
            { role: "tool", content: one.content, toolCallId: one.id, name: one.name },
          ],
          { addGenerationPrompt: true, tools: [one.tool], templateArguments: { effort: one.effort } },
        ).tokens;
      const plain = { content: "a", id: "a", name: "a", arguments: "{}", tool: harmless, effort: "a" };
      expect(controlIds(encoded(said))).toEqual(controlIds(encoded(plain)));
    }),
  );
});
