/** What `npm run bench` measures of an engine, by key: the one list that measuring, tables, plots and README follow. */

export interface Measure {
  label: string;
  unit: "tokens/s" | "GB/s" | "×";
}

export const PREFILL_TOKENS = [16, 64, 256] as const;
export const DECODE_CONTEXTS = [0, 256, 1024] as const;
export const BATCH_SEQUENCES = [1, 2, 4, 8] as const;
/** Context of the sequences in batched and sampled decoding. */
export const BATCH_CONTEXT = 64;
export const SAMPLED_CONTEXT = 256;
/** Tokens of the prompt and of the answer that a fresh instance runs first. */
export const COLD_TOKENS = 16;

const tokensPerS = (label: string): Measure => ({ label, unit: "tokens/s" });

export const MEASURES: Record<string, Measure> = {
  "cold-prefill": tokensPerS(`cold: prefill of ${COLD_TOKENS} tokens`),
  "cold-decode": tokensPerS(`cold: the first ${COLD_TOKENS} decoded tokens`),
  ...Object.fromEntries(PREFILL_TOKENS.map((n) => [`prefill-${n}`, tokensPerS(`prefill of ${n} tokens`)])),
  ...Object.fromEntries(DECODE_CONTEXTS.map((n) => [`decode-${n}`, tokensPerS(`decode at context ${n}`)])),
  "decode-sampled": tokensPerS(`decode at context ${SAMPLED_CONTEXT}, temperature 0.8, top-p 0.95`),
  ...Object.fromEntries(BATCH_SEQUENCES.map((n) => [`batch-${n}`, tokensPerS(`decode of ${n} together, all tokens`)])),
  "load-cold": { label: "load, first of a process", unit: "GB/s" },
  load: { label: "load", unit: "GB/s" },
  "load-copy": { label: "plain copy of the same bytes", unit: "GB/s" },
  "load-ratio": { label: "load against plain copy", unit: "×" },
};
