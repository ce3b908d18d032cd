/**
 * A model's chat template: Jinja text from the model file, run by `@huggingface/jinja` with the settings of the Python
 * stack (trim_blocks, lstrip_blocks). The template comes from a model file, the messages from a client: a template that
 * does not parse is the model's fault (`ModelError`), one that refuses or fails on a conversation is a 400.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { ModelError } from "../model/errors.ts";
import { invalidRequest } from "../protocol/errors.ts";
import { strftime } from "./strftime.ts";
import { type TemplateDialect, templateDialectOf } from "./template-dialect.ts";
import type { ChatTemplate } from "./tokenizer.ts";

export interface ChatTemplateSettings {
  /** Text of the BOS and EOS tokens, "" where there is none. */
  bosToken: string;
  eosToken: string;
  /** Wall clock for `strftime_now`, in milliseconds since 1970. */
  nowMs: () => number;
}

export interface RenderOptions {
  addGenerationPrompt: boolean;
  /** Further variables, such as `tools` or `enable_thinking`. */
  variables?: Record<string, unknown>;
}

/** `range()` makes a list; a template from a file must not be able to fill the memory with one. */
const RANGE_LENGTH_MAX = 100_000;

export class JinjaChatTemplate implements ChatTemplate {
  readonly dialect: TemplateDialect;
  readonly #program: ReturnType<typeof parse>;
  readonly #settings: ChatTemplateSettings;

  /** @throws ModelError `corrupt` for text that is no template */
  constructor(source: string, settings: ChatTemplateSettings) {
    this.#settings = settings;
    this.dialect = templateDialectOf(source);
    try {
      this.#program = parse(tokenize(source, { trim_blocks: true, lstrip_blocks: true }));
    } catch (cause) {
      throw new ModelError("corrupt", `The chat template of the model cannot be read: ${messageOf(cause)}`, { cause });
    }
  }

  render(messages: readonly object[], options: RenderOptions): string {
    const environment = new Environment();
    const variables = {
      ...options.variables,
      ...GLOBALS,
      strftime_now: (format: string) => strftime(this.#settings.nowMs(), format),
      bos_token: this.#settings.bosToken,
      eos_token: this.#settings.eosToken,
      messages,
      add_generation_prompt: options.addGenerationPrompt,
    };
    try {
      for (const [name, value] of Object.entries(variables)) environment.set(name, value);
      const result = new Interpreter(environment).run(this.#program);
      return String(result.value);
    } catch (cause) {
      const error = invalidRequest(`The model's chat template: ${messageOf(cause)}`, "messages", "chat_template");
      throw Object.assign(error, { cause });
    }
  }
}

const GLOBALS = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception: (message: string) => {
    throw new Error(message);
  },
  range: (first: number, second?: number, step = 1) => {
    const [start, stop] = second === undefined ? [0, first] : [first, second];
    const length = Math.max(0, Math.ceil((stop - start) / step));
    if (!(length <= RANGE_LENGTH_MAX))
      throw new Error(`range() of ${length} numbers; the limit is ${RANGE_LENGTH_MAX}.`);
    return Array.from({ length }, (_, i) => start + i * step);
  },
};

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
