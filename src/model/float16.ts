/** IEEE half precision and bfloat16 as bit patterns. Both roundings are to nearest, ties to even, as ggml does. */

const SCRATCH = new DataView(new ArrayBuffer(4));

export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function floatToHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  // Subnormals are multiples of 2^-24; above, 1024 steps for each power of two. The carry runs into the exponent.
  const exponent = Math.max(Math.floor(Math.log2(magnitude || 1)), -15);
  const normal = magnitude >= 2 ** -14;
  const e = normal
    ? 2 ** exponent > magnitude
      ? exponent - 1
      : 2 ** (exponent + 1) <= magnitude
        ? exponent + 1
        : exponent
    : 0;
  const steps = normal ? roundToEven((magnitude / 2 ** e - 1) * 1024) : roundToEven(magnitude * 2 ** 24);
  return sign | (normal ? ((e + 15) << 10) + steps : steps);
}

/** What is left of `value` after it was stored as a half. */
export function roundToHalf(value: number): number {
  return halfToFloat(floatToHalf(value));
}

export function bfloatToFloat(bits: number): number {
  SCRATCH.setUint32(0, bits << 16);
  return SCRATCH.getFloat32(0);
}

export function floatToBfloat(value: number): number {
  SCRATCH.setFloat32(0, value);
  const bits = SCRATCH.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
