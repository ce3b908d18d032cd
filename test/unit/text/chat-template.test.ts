import { describe, expect, test } from "vitest";
import { ModelError } from "../../../src/model/errors.ts";
import { ApiError } from "../../../src/protocol/errors.ts";
import { JinjaChatTemplate } from "../../../src/text/chat-template.ts";
import { CHATML_TEMPLATE, fallbackTemplate, TRANSCRIPT_TEMPLATE } from "../../../src/text/fallback-templates.ts";
import { loadText, loadTextFromJson } from "../../../src/text/index.ts";
import { strftime } from "../../../src/text/strftime.ts";
import { byteLevelJson, byteLevelMetadata, sentencePieceMetadata } from "./tiny-vocabulary.ts";

const NOW_MS = Date.UTC(2026, 0, 5, 15, 4, 9);

function template(source: string): JinjaChatTemplate {
  return new JinjaChatTemplate(source, { bosToken: "<s>", eosToken: "</s>", nowMs: () => NOW_MS });
}

const CONVERSATION = [
  { role: "system", content: "Be kind." },
  { role: "user", content: "Hi" },
];

function errorOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return null;
}

describe("JinjaChatTemplate", () => {
  test("gives the template its messages, tokens and settings", () => {
    const source =
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'] | trim }}{{ eos_token }}{% endfor %}" +
      "{% if add_generation_prompt %}[assistant]{% endif %}{% if tools is defined %}tools{% endif %}";
    expect(template(source).render(CONVERSATION, { addGenerationPrompt: true })).toBe(
      "<s>[system] Be kind.</s>[user] Hi</s>[assistant]",
    );
    expect(template(source).render([], { addGenerationPrompt: false, variables: { tools: [] } })).toBe("<s>tools");
  });

  test("drops the newline and the indentation of a block, as the Python stack does", () => {
    const source = "{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n";
    expect(template(source).render(CONVERSATION, { addGenerationPrompt: false })).toBe("Be kind.\nHi\n");
  });

  test("reads the injected clock", () => {
    expect(template("{{ strftime_now('%d %b %Y') }}").render([], { addGenerationPrompt: false })).toBe("05 Jan 2026");
  });

  test("a refusal is a 400 with the template's own words", () => {
    const error = errorOf(() =>
      template("{{ raise_exception('Roles must alternate.') }}").render([], { addGenerationPrompt: true }),
    );
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status: 400, param: "messages", code: "chat_template" });
    expect((error as ApiError).message).toBe("The model's chat template: Roles must alternate.");
  });

  test("a template that fails on a conversation is a 400 too", () => {
    const failing = template("{{ messages[0].content.no_such_method() }}");
    expect(errorOf(() => failing.render(CONVERSATION, { addGenerationPrompt: true }))).toMatchObject({ status: 400 });
  });

  test("a text that is no template is the model's fault", () => {
    const error = errorOf(() => template("{% if %}{{"));
    expect(error).toBeInstanceOf(ModelError);
    expect(error).toMatchObject({ kind: "corrupt" });
    expect((error as Error).message).toMatch(/^The chat template of the model cannot be read: ./);
  });

  test("range() counts, and cannot fill the memory", () => {
    const numbers = template(
      "{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{% for i in range(2) %}{{ i }}{% endfor %}",
    );
    expect(numbers.render([], { addGenerationPrompt: false })).toBe("53101");
    const huge = template("{% for i in range(1000000000) %}{% endfor %}");
    expect(errorOf(() => huge.render([], { addGenerationPrompt: false }))).toMatchObject({
      message: "The model's chat template: range() of 1000000000 numbers; the limit is 100000.",
    });
    expect(errorOf(() => template("{{ range(0, 1, 0) }}").render([], { addGenerationPrompt: false }))).toMatchObject({
      status: 400,
    });
  });
});

describe("strftime", () => {
  test("prints the directives of chat templates in UTC", () => {
    expect(strftime(NOW_MS, "%Y-%m-%d %H:%M:%S %y %B %A %a %I %p 100%% %Q")).toBe(
      "2026-01-05 15:04:09 26 January Monday Mon 03 PM 100% %Q",
    );
    expect(strftime(Date.UTC(2026, 0, 5, 0, 0), "%I %p")).toBe("12 AM");
  });
});

describe("files without a template", () => {
  test("ChatML where the vocabulary has its tokens", () => {
    const source = fallbackTemplate((text) => ["<|im_start|>", "<|im_end|>"].includes(text));
    expect(source).toBe(CHATML_TEMPLATE);
    expect(template(source).render(CONVERSATION, { addGenerationPrompt: true })).toBe(
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("a plain transcript otherwise", () => {
    const source = fallbackTemplate((text) => text === "<|im_start|>");
    expect(source).toBe(TRANSCRIPT_TEMPLATE);
    expect(template(source).render(CONVERSATION, { addGenerationPrompt: true })).toBe(
      "Be kind.\n\nUser: Hi\n\nAssistant:",
    );
  });
});

describe("loadText", () => {
  const options = { nowMs: () => NOW_MS };
  const render = (text: { template: { render: JinjaChatTemplate["render"] } }) =>
    text.template.render(CONVERSATION, { addGenerationPrompt: false });

  test("takes the template of the GGUF file, with its BOS and EOS", () => {
    const source = "{{ bos_token }}{{ messages[1].content }}{{ eos_token }}";
    expect(render(loadText(sentencePieceMetadata({ "tokenizer.chat_template": source }), options))).toBe("<s>Hi</s>");
    expect(render(loadText(byteLevelMetadata(), options))).toContain("<|im_start|>user\nHi<|im_end|>");
  });

  test("takes the template of tokenizer_config.json, alone or the default of several", () => {
    const named = [
      { name: "tool_use", template: "no" },
      { name: "default", template: "{{ messages[1].content }}" },
    ];
    for (const chat_template of ["{{ messages[1].content }}", named]) {
      expect(render(loadTextFromJson(byteLevelJson(), { chat_template }, options))).toBe("Hi");
    }
    expect(errorOf(() => loadTextFromJson(byteLevelJson(), { chat_template: [] }, options))).toBeInstanceOf(ModelError);
  });
});
