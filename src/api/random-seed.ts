/** Seeds of requests that bring none, drawn before anything is generated, so that an answer can be computed again. */

/** 53 bits, all that JSON carries. */
export function drawSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high! >>> 11) * 2 ** 32 + low!;
}
