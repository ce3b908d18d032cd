/** Answers of POST /v1/completions, whole and streamed (OpenAI API reference, "The completion object"). */
import type { Answer } from "../answer.ts";
import type { StreamEncoder } from "../answer-encoder.ts";
import { type AnswerFrame, type ChoiceFormat, ChunkStream } from "./chunk-stream.ts";
import { CompletionLogprobsEncoder } from "./completion-logprobs.ts";
import { finishBody } from "./finish.ts";
import { usageBody } from "./usage.ts";

const OBJECT = "text_completion";

export function completionBody(answer: Answer, frame: AnswerFrame) {
  return {
    id: frame.id,
    object: OBJECT,
    created: frame.createdS,
    model: answer.model,
    choices: answer.choices.map(({ index, text, tokens, reason, stop }) => ({
      index,
      text,
      logprobs: new CompletionLogprobsEncoder().encode(tokens),
      ...finishBody(reason, stop),
    })),
    usage: usageBody(answer.usage),
    ...frame.extra,
  };
}

export function completionStream(frame: AnswerFrame): StreamEncoder {
  const logprobs = Array.from({ length: frame.numChoices }, () => new CompletionLogprobsEncoder());
  const format: ChoiceFormat = {
    object: OBJECT,
    open: () => null,
    piece: (event) => {
      // Only answers to chats are read for reasoning and calls.
      if (event.type !== "prompt" && event.type !== "delta") return null;
      const { index, text, tokens } = event;
      if (text === "" && tokens === null) return null;
      return { index, text, logprobs: logprobs[index]!.encode(tokens), finish_reason: null };
    },
    finish: ({ index, reason, stop }) => ({ index, text: "", logprobs: null, ...finishBody(reason, stop) }),
  };
  return new ChunkStream(frame, format);
}
