/**
 * Ids of calls, `call_` and 24 letters and digits as OpenAI's. They follow from the request's id and seed, so that an answer
 * that is made once more says the same; within a conversation the request's id keeps two turns with one seed apart. No
 * secret: 64 bits of seed behind them keep them from meeting by chance.
 */
import { fmix32 } from "./block-hash.ts";

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS = 24;

export function callId(requestId: string, seed: readonly [number, number], choice: number, call: number): string {
  let state = 0;
  const mix = (value: number): number => {
    state = fmix32((Math.imul(state, 31) ^ value) + 0x9e3779b9) >>> 0;
    return state;
  };
  for (let at = 0; at < requestId.length; at++) mix(requestId.charCodeAt(at));
  mix(choice);
  mix(call);
  let id = "call_";
  for (let at = 0; at < ID_CHARS; at++) id += LETTERS[mix(seed[at & 1]! + at) % LETTERS.length];
  return id;
}
