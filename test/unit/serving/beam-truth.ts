/** Beam search written down plainly, over a model without any cache, and the search that looks at every answer there is. */
import type { BeamParams } from "../../../src/protocol/generate.ts";
import { logprobsAlone } from "./hash-model.ts";

export interface TrueBeam {
  tokens: number[];
  reason: "stop" | "length";
  score: number;
}

export interface BeamTask extends Omit<BeamParams, "stopsEarly"> {
  prompt: readonly number[];
  maxTokens: number;
  endTokens: readonly number[];
  vocabSize: number;
}

interface Open {
  tokens: number[];
  logprob: number;
}

function scoreOf({ prompt, lengthPenalty }: BeamTask, logprob: number, numTokens: number): number {
  return logprob / (prompt.length + numTokens) ** lengthPenalty;
}

/** vLLM's loop: to the last token, and everything that ever finished is kept until the end. */
export function searchAlone(task: BeamTask): TrueBeam[] {
  const { prompt, width, maxTokens, endTokens, vocabSize } = task;
  const finished: TrueBeam[] = [];
  let beams: Open[] = [{ tokens: [], logprob: 0 }];
  for (let step = 0; step < maxTokens; step++) {
    const next: Open[] = [];
    for (const { tokens, logprob } of beams) {
      const ranked = logprobsAlone([...prompt, ...tokens], vocabSize).slice(0, 2 * width);
      for (const one of ranked) {
        const beam = { tokens: [...tokens, one.token], logprob: logprob + one.logprob };
        if (!endTokens.includes(one.token)) next.push(beam);
        else finished.push({ ...beam, reason: "stop", score: scoreOf(task, beam.logprob, tokens.length) });
      }
    }
    beams = next.sort((a, b) => b.logprob - a.logprob).slice(0, width);
  }
  for (const beam of beams) {
    finished.push({ ...beam, reason: "length", score: scoreOf(task, beam.logprob, beam.tokens.length) });
  }
  return best(finished, width);
}

/** Every answer of at most `maxTokens` tokens. Beams that are wide enough for all of them must find its best. */
export function searchExhaustively(task: BeamTask): TrueBeam[] {
  const { prompt, width, maxTokens, endTokens, vocabSize } = task;
  const all: TrueBeam[] = [];
  const visit = (tokens: number[], logprob: number): void => {
    if (tokens.length === maxTokens) {
      all.push({ tokens, reason: "length", score: scoreOf(task, logprob, tokens.length) });
      return;
    }
    for (const one of logprobsAlone([...prompt, ...tokens], vocabSize)) {
      const longer = [...tokens, one.token];
      if (!endTokens.includes(one.token)) visit(longer, logprob + one.logprob);
      else all.push({ tokens: longer, reason: "stop", score: scoreOf(task, logprob + one.logprob, tokens.length) });
    }
  };
  visit([], 0);
  return best(all, width);
}

function best(beams: TrueBeam[], width: number): TrueBeam[] {
  const ranked = beams.sort((a, b) => b.score - a.score).slice(0, width);
  return ranked.map(({ tokens, reason, score }) => ({ tokens, reason, score }));
}
