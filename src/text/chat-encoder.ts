/**
 * Messages → prompt ids. The template's control tokens are read as tokens; whatever a message spells, `<|im_end|>`
 * included, stays text (see `control-texts.ts`). Where no message contains such text, text and ids are exactly those of
 * rendering the template and encoding the result whole.
 */
import type { ControlTexts } from "./control-texts.ts";
import type { EncodeOptions } from "./library-tokenizer.ts";
import type { TextRange } from "./special-splitter.ts";
import type { ChatTemplate, Tokenizer } from "./tokenizer.ts";
import type { Transcript } from "./transcript.ts";

/** A tokenizer that can tell structure from its spelling; `LibraryTokenizer` is one. */
export interface ChatTokenizer extends Tokenizer {
  readonly controlTexts: ControlTexts;
  encode(text: string, options: EncodeOptions): number[];
}

export interface Message {
  role: string;
  content: string;
  name?: string;
}

export interface EncodeChatOptions {
  addGenerationPrompt: boolean;
  /**
   * Earlier part of the same conversation. If the rendered text begins with its text, its ids are taken as they are
   * and only the rest is tokenized; otherwise it is ignored.
   */
  transcript?: Transcript | undefined;
}

/** @throws ApiError 400 where the template refuses the conversation */
export function encodeChat(
  tokenizer: ChatTokenizer,
  template: ChatTemplate,
  messages: readonly Message[],
  { addGenerationPrompt, transcript }: EncodeChatOptions,
): Transcript {
  const { text, plain } = render(tokenizer.controlTexts, template, messages, addGenerationPrompt);
  if (transcript !== undefined && transcript.tokens.length > 0 && text.startsWith(transcript.text)) {
    const start = transcript.text.length;
    const rest = tokenizer.encode(text.slice(start), {
      addSpecialTokens: false,
      parseSpecial: true,
      plain: plain.map(([from, to]): TextRange => [from - start, to - start]),
      continues: true,
    });
    return { text, tokens: [...transcript.tokens, ...rest] };
  }
  const tokens = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: true, plain });
  // Many templates write BOS themselves; it must not stand there twice, nor be missing.
  const [bosId] = tokenizer.encode("", { addSpecialTokens: true, parseSpecial: false });
  const isBosMissing = bosId !== undefined && bosId === tokenizer.bosId && tokens[0] !== bosId;
  return { text, tokens: isBosMissing ? [bosId, ...tokens] : tokens };
}

function render(
  controlTexts: ControlTexts,
  template: ChatTemplate,
  messages: readonly Message[],
  addGenerationPrompt: boolean,
): { text: string; plain: TextRange[] } {
  const written = messages.flatMap(({ content, name }) => (name === undefined ? [content] : [content, name]));
  const marking = controlTexts.marking(written);
  if (marking === null) return { text: template.render(messages, { addGenerationPrompt }), plain: [] };
  const marked = messages.map((message) => ({
    ...message,
    content: marking.mark(message.content),
    ...(message.name === undefined ? {} : { name: marking.mark(message.name) }),
  }));
  return marking.unmark(template.render(marked, { addGenerationPrompt }));
}
