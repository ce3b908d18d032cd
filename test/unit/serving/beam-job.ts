/** A beam search for an engine, and what its owner hears of it. */
import { BeamGroup, type BeamGroupOptions } from "../../../src/serving/beam-group.ts";
import type { BeamTask, TrueBeam } from "./beam-truth.ts";

export class BeamJob {
  readonly group: BeamGroup;
  numAdmitted = 0;
  numPrefilled = 0;
  numEnds = 0;
  error: unknown = null;

  constructor(task: BeamTask, options: Partial<BeamGroupOptions> = {}) {
    const { prompt, width, lengthPenalty, maxTokens, endTokens } = task;
    this.group = new BeamGroup({
      width,
      lengthPenalty,
      stopsEarly: false,
      requestId: "beams",
      promptTokens: prompt,
      maxTokens,
      scorePrompt: false,
      cacheSalt: "",
      numLogprobs: 0,
      isEnd: (token) => endTokens.includes(token),
      listener: {
        admitted: () => this.numAdmitted++,
        promptScored: () => {},
        prefilled: () => this.numPrefilled++,
        searched: () => this.numEnds++,
        failed: (error) => {
          this.error = error;
        },
      },
      ...options,
    });
  }

  get beams(): TrueBeam[] {
    return this.group.results().map(({ rows, ...rest }) => ({ ...rest, tokens: rows.map(({ token }) => token) }));
  }
}
