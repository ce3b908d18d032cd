/** Answers of POST /v1/chat/completions, whole and streamed (OpenAI API reference, "Chat completion (chunk) object"). */
import type { Answer } from "../answer.ts";
import type { StreamEncoder } from "../answer-encoder.ts";
import { chatLogprobs } from "./chat-logprobs.ts";
import { type AnswerFrame, type ChoiceFormat, ChunkStream } from "./chunk-stream.ts";
import { finishBody } from "./finish.ts";
import { usageBody } from "./usage.ts";

export function chatBody(answer: Answer, frame: AnswerFrame) {
  return {
    id: frame.id,
    object: "chat.completion" as const,
    created: frame.createdS,
    model: answer.model,
    choices: answer.choices.map(({ index, text, tokens, reason, stop }) => ({
      index,
      message: { role: "assistant" as const, content: text, refusal: null },
      logprobs: chatLogprobs(tokens),
      ...finishBody(reason, stop),
    })),
    usage: usageBody(answer.usage),
    ...frame.extra,
  };
}

/** The first chunk of each choice names the role: OpenAI's own stream helper throws without it. */
const CHAT_CHUNKS: ChoiceFormat = {
  object: "chat.completion.chunk",
  open: (index) => chunkChoice(index, { role: "assistant", content: "" }, null),
  piece: ({ index, text, tokens }) =>
    text === "" && tokens === null ? null : chunkChoice(index, { content: text }, chatLogprobs(tokens)),
  finish: ({ index, reason, stop }) => ({ ...chunkChoice(index, {}, null), ...finishBody(reason, stop) }),
};

function chunkChoice(index: number, delta: object, logprobs: object | null) {
  return { index, delta, logprobs, finish_reason: null };
}

export function chatStream(frame: AnswerFrame): StreamEncoder {
  return new ChunkStream(frame, CHAT_CHUNKS);
}
