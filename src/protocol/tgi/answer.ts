/** Answers of TGI's POST /generate and /, whole, and the parts that the stream has, too. */
import type { Answer, AnswerChoice } from "../answer.ts";
import type { FinishReason, TokenLogprob } from "../generate.ts";
import { finiteLogprob, LOGPROB_MIN } from "../openai/chat-logprobs.ts";

/** What of a request its answer depends on. */
export interface TgiFrame {
  inputs: string;
  /** The answer's text begins with the inputs. */
  returnsInputs: boolean;
  wantsDetails: boolean;
  /** The prompt's tokens are among the details. */
  wantsPrompt: boolean;
  /** Alternatives of each token were asked for. */
  wantsTop: boolean;
  seed: number | null;
}

export type TgiFinish = "length" | "eos_token" | "stop_sequence";

export function tgiFinish(reason: FinishReason, stop: string | number | null): TgiFinish {
  if (reason === "length") return "length";
  return typeof stop === "string" ? "stop_sequence" : "eos_token";
}

export function tgiToken({ id, logprob }: Pick<TokenLogprob, "id" | "logprob">, text: string) {
  return { id, text, logprob: finiteLogprob(logprob ?? LOGPROB_MIN), special: false };
}

export function topTokens({ top }: TokenLogprob) {
  return top.map((one) => tgiToken(one, one.text));
}

export function tgiBody(answer: Answer, frame: TgiFrame) {
  const { inputs, returnsInputs, wantsDetails, wantsPrompt } = frame;
  const choice = answer.choices[0]!;
  const generated = wantsPrompt && choice.text.startsWith(inputs) ? choice.text.slice(inputs.length) : choice.text;
  return {
    generated_text: returnsInputs ? inputs + generated : generated,
    ...(wantsDetails && { details: detailsBody(answer, choice, frame) }),
  };
}

function detailsBody({ usage }: Answer, choice: AnswerChoice, { wantsPrompt, wantsTop, seed }: TgiFrame) {
  const all = choice.tokens ?? [];
  const numPrompt = wantsPrompt ? usage.promptTokens : 0;
  const generated = all.slice(numPrompt);
  return {
    finish_reason: tgiFinish(choice.reason, choice.stop),
    generated_tokens: usage.completionTokens,
    seed,
    prefill: all.slice(0, numPrompt).map(({ id, text, logprob }) => ({ id, text, logprob })),
    tokens: generated.map((token) => tgiToken(token, token.text)),
    ...(wantsTop && { top_tokens: generated.map(topTokens) }),
  };
}
