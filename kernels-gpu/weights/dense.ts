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
      const words = wholeUnits(file);
      for (let i = 0; i < words.length; i += 4) {
        const element = (i / 4) * unitElements;
        const unit = (element % CHUNK) / unitElements;
        const to = laneUnit(Math.floor(element / CHUNK), unit, unitsPerChunk, chunks) * 4;
        for (let word = 0; word < 4; word++) quants[to + word] = words[i + word]!;
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

/** A row as words, padded with zeros to whole units. A view of the file's bytes where they allow it. */
function wholeUnits(file: DataView): Uint32Array {
  const { buffer, byteOffset, byteLength } = file;
  if (byteLength % 16 === 0 && byteOffset % 4 === 0) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  const padded = new Uint8Array(Math.ceil(byteLength / 16) * 16);
  padded.set(new Uint8Array(buffer, byteOffset, byteLength));
  return new Uint32Array(padded.buffer);
}

export function decoders(decode: Decode): string {
  return Array.from({ length: 8 }, (_, j) => `fn decode_${j}(c: Chunk) -> vec4<f32> { return ${decode(j)}; }`).join(
    "\n",
  );
}

const fields = (count: number, one: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => one(i)).join(", ");

export const DENSE_FORMATS = [dense("F32", 4, F32), dense("F16", 2, F16), dense("BF16", 2, BF16)];
