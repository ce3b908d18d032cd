/** F32, F16 and BF16: 8 or 4 units a chunk, no extras. */
import { CHUNK, laneUnit, numChunks } from "../lanes.ts";
import { type GpuWeightType, placeWgsl, type WeightFormat } from "./format.ts";

/** decode_j of a type whose unit holds 4 (f32) or 8 (halves) elements. */
type Decode = (j: number) => string;

const HALF_UNIT = (j: number) => ({ unit: `c.q${j >> 1}`, words: j % 2 === 0 ? ["x", "y"] : ["z", "w"] });

const F16: Decode = (j) => {
  const { unit, words } = HALF_UNIT(j);
  return `vec4<f32>(unpack2x16float(${unit}.${words[0]}), unpack2x16float(${unit}.${words[1]}))`;
};

const BF16: Decode = (j) => {
  const { unit, words } = HALF_UNIT(j);
  const [a, b] = words.map((word) => `${unit}.${word}`);
  return `bitcast<vec4<f32>>(vec4<u32>(${a} << 16u, ${a} & 0xffff0000u, ${b} << 16u, ${b} & 0xffff0000u))`;
};

const F32: Decode = (j) => `bitcast<vec4<f32>>(c.q${j})`;

function dense(type: GpuWeightType, elementBytes: number, decode: Decode): WeightFormat {
  const unitsPerChunk = (CHUNK * elementBytes) / 16;
  const unitElements = 16 / elementBytes;
  return {
    type,
    unitsPerChunk,
    extraWords: () => 0,
    fileRowBytes: (k) => k * elementBytes,
    packRow(file, k, quants) {
      const chunks = numChunks(k);
      const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
      const out = new Uint8Array(quants.buffer, quants.byteOffset, quants.byteLength);
      for (let from = 0; from < k; from += unitElements) {
        const chunk = Math.floor(from / CHUNK);
        const unit = laneUnit(chunk, (from % CHUNK) / unitElements, unitsPerChunk, chunks);
        out.set(bytes.subarray(from * elementBytes, Math.min(from + unitElements, k) * elementBytes), unit * 16);
      }
    },
    wgsl: (chunks) => /* wgsl */ `
struct Chunk { ${fields(unitsPerChunk, (i) => `q${i}: vec4<u32>`)} }
${placeWgsl(unitsPerChunk, chunks)}
fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let at = first_unit(row, chunk);
  let stride = unit_stride(chunk);
  return Chunk(${fields(unitsPerChunk, (i) => `quants[at + ${i}u * stride]`)});
}
${decoders(decode)}`,
  };
}

export function decoders(decode: Decode): string {
  return Array.from({ length: 8 }, (_, j) => `fn decode_${j}(c: Chunk) -> vec4<f32> { return ${decode(j)}; }`).join(
    "\n",
  );
}

const fields = (count: number, one: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => one(i)).join(", ");

export const DENSE_FORMATS = [dense("F32", 4, F32), dense("F16", 2, F16), dense("BF16", 2, BF16)];
