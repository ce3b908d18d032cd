/** Ids that nobody can guess. */

const NUM_RANDOM_BYTES = 16;

/** 128 random bits as 32 hex digits. */
export function randomHexId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NUM_RANDOM_BYTES));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
