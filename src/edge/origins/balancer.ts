/**
 * Which of several equal origins gets a request. Requests with the same key (a session, a `prompt_cache_key`, the same
 * beginning) go to the same one, so that its prefix cache has what they share; where that one is clearly busier than
 * another, to the least busy.
 *
 * The place of a key is a weighted rendezvous hash: an origin that joins or leaves moves only the keys that are its own,
 * and one of twice the weight has twice as many. Load is what this isolate has in flight, by weight.
 */
import { fnv1a } from "../../api/fnv1a.ts";

/** A prefix that has to be computed again costs as much as some waiting: so much more load has an affine origin's leave. */
const LOAD_FACTOR = 1.25;
const LOAD_SPARE = 4;

export interface Candidate {
  readonly name: string;
  readonly weight: number;
  readonly numInFlight: number;
}

/** @param candidates at least one */
export function chooseOrigin<Origin extends Candidate>(candidates: readonly Origin[], key: string): Origin {
  const ranked = candidates
    .map((origin) => ({ origin, score: scoreOf(key, origin), load: loadOf(origin) }))
    .sort((a, b) => b.score - a.score);
  const affine = ranked[0]!;
  const least = ranked.reduce((best, other) => (other.load < best.load ? other : best));
  const isBusier = affine.load > LOAD_FACTOR * least.load + LOAD_SPARE;
  return (isBusier ? least : affine).origin;
}

function loadOf({ numInFlight, weight }: Candidate): number {
  return numInFlight / weight;
}

/** −w / ln(u) with u even in (0, 1): the largest is that of each origin with a probability in proportion to w. */
function scoreOf(key: string, { name, weight }: Candidate): number {
  const unit = (mixed(fnv1a(`${name}\n${key}`)) + 0.5) / 2 ** 32;
  return -weight / Math.log(unit);
}

/** FNV leaves its upper bits poorly mixed for keys that differ at their end (the finalizer of MurmurHash3). */
function mixed(hash: number): number {
  let bits = hash;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
