/** B of an adapter → GPU memory: transposed, four columns of one rank a unit, of 16 bytes or, of halves, 8. */
import { columnUnits } from "./segments.ts";

/** A and B are kept as their files have them. */
export const LORA_TYPES = ["F32", "F16", "BF16"] as const;
export type LoraType = (typeof LORA_TYPES)[number];

export const elementBytes = (type: LoraType): number => (type === "F32" ? 4 : 2);

/** Words of a unit. */
export const unitWords = (type: LoraType): number => elementBytes(type);

/**
 * @param file rows [n][rank], as a GGUF file has them
 * @param target all zero from `firstUnit` on
 */
export function packColumns(
  target: Uint32Array<ArrayBuffer>,
  type: LoraType,
  file: Uint8Array,
  { n, rank, firstUnit }: { n: number; rank: number; firstUnit: number },
): void {
  const size = elementBytes(type);
  if (file.length !== n * rank * size) {
    throw new RangeError(`${file.length} bytes are no ${type} matrix of ${n} rows of ${rank} elements.`);
  }
  const from = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const to = new DataView(target.buffer, target.byteOffset + firstUnit * unitWords(type) * 4);
  const width = columnUnits(n) * 4;
  for (let column = 0; column < n; column++) {
    for (let r = 0; r < rank; r++) {
      const source = (column * rank + r) * size;
      const place = (r * width + column) * size;
      if (size === 4) to.setUint32(place, from.getUint32(source, true), true);
      else to.setUint16(place, from.getUint16(source, true), true);
    }
  }
}

const UNIT: Record<LoraType, string> = {
  F32: "bitcast<vec4<f32>>(b[unit])",
  F16: "vec4<f32>(unpack2x16float(b[unit].x), unpack2x16float(b[unit].y))",
  BF16: "bitcast<vec4<f32>>(vec4<u32>(b[unit].x << 16u, b[unit].x & 0xffff0000u, b[unit].y << 16u, b[unit].y & 0xffff0000u))",
};

/** Type of the binding `b`, and `columns_of(unit)`: four columns of one rank. */
export const unitType = (type: LoraType): string => `array<vec${unitWords(type)}<u32>>`;
export const unitWgsl = (type: LoraType): string => `fn columns_of(unit: u32) -> vec4<f32> { return ${UNIT[type]}; }`;
