/**
 * Messages → prompt ids. The template's control tokens are read as tokens; whatever a message spells, `<|im_end|>`
 * included, stays text (see `control-texts.ts`). Where no message contains such text, text and ids are exactly those of
 * rendering the template and encoding the result whole.
 */
import { ApiError } from "../protocol/errors.ts";
import { type Chat, type ChatExtras, type Message, mapChat, parseChat, textsOf } from "./chat.ts";
import type { ControlTexts } from "./control-texts.ts";
import type { EncodeOptions } from "./library-tokenizer.ts";
import type { TextRange } from "./special-splitter.ts";
import type { ChatTemplate, Tokenizer } from "./tokenizer.ts";
import { templateMessage, templateTool } from "./tools/template-tools.ts";
import { withoutToolRoles, withToolPrompt } from "./tools/tool-prompt.ts";
import type { Transcript } from "./transcript.ts";

/** A tokenizer that can tell structure from its spelling; `LibraryTokenizer` is one. */
export interface ChatTokenizer extends Tokenizer {
  readonly controlTexts: ControlTexts;
  encode(text: string, options: EncodeOptions): number[];
}

export interface EncodeChatOptions extends ChatExtras {
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
  { addGenerationPrompt, transcript, ...extras }: EncodeChatOptions,
): Transcript {
  const chat = parseChat(messages, extras);
  const { text, plain } = render(tokenizer.controlTexts, template, chat, addGenerationPrompt);
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
  chat: Chat,
  addGenerationPrompt: boolean,
): { text: string; plain: TextRange[] } {
  const marking = controlTexts.marking(textsOf(chat));
  if (marking === null) return { text: renderChat(template, chat, addGenerationPrompt), plain: [] };
  return marking.unmark(renderChat(template, mapChat(chat, marking.mark), addGenerationPrompt));
}

function renderChat(template: ChatTemplate, chat: Chat, addGenerationPrompt: boolean): string {
  const { messages, tools, templateArguments } = chat;
  const isTemplates = template.dialect.syntax.tools.isTemplates;
  const said = isTemplates ? messages : withoutToolRoles(messages);
  const write = (all: Chat["messages"], variables: Record<string, unknown>) =>
    template.render(
      all.map((message) => templateMessage(message, template.dialect)),
      { addGenerationPrompt, variables },
    );
  if (tools.length === 0) return write(said, templateArguments);
  if (isTemplates) return write(said, { ...templateArguments, tools: tools.map(templateTool) });
  try {
    return write(withToolPrompt(said, tools, "system"), templateArguments);
  } catch (cause) {
    // Some templates know no system messages, and say so.
    if (!(cause instanceof ApiError) || messages.some(({ role }) => role === "system")) throw cause;
    return write(withToolPrompt(said, tools, "user"), templateArguments);
  }
}
