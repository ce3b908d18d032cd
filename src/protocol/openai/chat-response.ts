/**
 * Answers of POST /v1/chat/completions, whole and streamed (OpenAI API reference, "Chat completion (chunk) object").
 *
 * What a model thought has two names, as clients read either: `reasoning_content` (DeepSeek, llama.cpp) and `reasoning`
 * (vLLM). The first delta of a call names it and has empty arguments, every further one has its index and a piece of
 * them: OpenAI's own stream helper throws, and LangChain drops the call, where one of these is missing.
 */
import type { Answer, AnswerChoice } from "../answer.ts";
import type { StreamEncoder } from "../answer-encoder.ts";
import { chatLogprobs } from "./chat-logprobs.ts";
import { type AnswerFrame, type ChoiceFormat, ChunkStream, type PieceEvent } from "./chunk-stream.ts";
import { finishBody } from "./finish.ts";
import { usageBody } from "./usage.ts";

export function chatBody(answer: Answer, frame: AnswerFrame) {
  return {
    id: frame.id,
    object: "chat.completion" as const,
    created: frame.createdS,
    model: answer.model,
    choices: answer.choices.map((choice) => ({
      index: choice.index,
      message: messageBody(choice),
      logprobs: chatLogprobs(choice.tokens),
      ...finishBody(choice.reason, choice.stop),
    })),
    usage: usageBody(answer.usage),
    ...frame.extra,
  };
}

function messageBody({ text, reasoning, toolCalls }: AnswerChoice) {
  return {
    role: "assistant" as const,
    content: text === "" && toolCalls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === "" ? {} : reasoningBody(reasoning)),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map(({ id, name, arguments: json }) => ({
        id,
        type: "function" as const,
        function: { name, arguments: json },
      })),
    }),
  };
}

function reasoningBody(text: string) {
  return { reasoning_content: text, reasoning: text };
}

/** The first chunk of each choice names the role: OpenAI's own stream helper throws without it. */
const CHAT_CHUNKS: ChoiceFormat = {
  object: "chat.completion.chunk",
  open: (index) => chunkChoice(index, { role: "assistant", content: "" }, null),
  piece: chatPiece,
  finish: ({ index, reason, stop }) => ({ ...chunkChoice(index, {}, null), ...finishBody(reason, stop) }),
};

function chatPiece(event: PieceEvent): object | null {
  const { index } = event;
  switch (event.type) {
    case "prompt":
    case "delta":
    case "reasoning": {
      const { type, text, tokens } = event;
      if (text === "" && tokens === null) return null;
      return chunkChoice(index, type === "reasoning" ? reasoningBody(text) : { content: text }, chatLogprobs(tokens));
    }
    case "toolCall": {
      const { call, id, name } = event;
      return callChoice(index, { index: call, id, type: "function", function: { name, arguments: "" } });
    }
    case "toolArguments":
      return callChoice(index, { index: event.call, function: { arguments: event.text } });
  }
}

function callChoice(index: number, call: object) {
  return chunkChoice(index, { tool_calls: [call] }, null);
}

function chunkChoice(index: number, delta: object, logprobs: object | null) {
  return { index, delta, logprobs, finish_reason: null };
}

export function chatStream(frame: AnswerFrame): StreamEncoder {
  return new ChunkStream(frame, CHAT_CHUNKS);
}
