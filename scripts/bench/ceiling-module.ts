/**
 * What this machine's WebAssembly can do at most, as a module of a few loops: reading memory with one and with four
 * far-apart streams, and dot products that never leave the registers. Kernels are judged against these.
 *
 * Twelve accumulators hide the latency of a dot (five or six cycles, two a cycle) and leave four of the sixteen SSE
 * registers for operands. Each dot takes its own accumulator as an operand or addend, so that nothing can be hoisted.
 */
import binaryen from "binaryen";
import { compile } from "../../test/support/kernel-modules.ts";

export interface CeilingExports {
  memory: WebAssembly.Memory;
  /** Both read [address, address + bytes) once; `bytes` is a multiple of 512. */
  read_1_stream(address: number, bytes: number): number;
  read_4_streams(address: number, bytes: number): number;
  /** `rounds` × 12 dots of 16 (exact: 8) products each. */
  dot_i32(rounds: number): number;
  dot_i16(rounds: number): number;
  dot_exact(rounds: number): number;
}

export const DOTS_PER_ROUND = 12;

const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const lines = (count: number, line: (i: number) => string) => range(count).map(line).join("\n");

/** A loop over `$i` from 0, `step` bytes at a time; eight loads a turn into eight accumulators. */
function reader(name: string, numStreams: number): string {
  const loadsPerStream = 8 / numStreams;
  const load = (i: number) => {
    const stream = Math.floor(i / loadsPerStream);
    const offset = (i % loadsPerStream) * 16;
    return `(local.set $a${i} (v128.xor (local.get $a${i}) (v128.load offset=${offset} (local.get $p${stream}))))`;
  };
  return `
  (func $${name} (export "${name}") (param $at i32) (param $bytes i32) (result i32)
    ${lines(numStreams, (i) => `(local $p${i} i32)`)} (local $end i32)
    ${lines(8, (i) => `(local $a${i} v128)`)}
    ${lines(
      numStreams,
      (i) =>
        `(local.set $p${i} (i32.add (local.get $at)
           (i32.mul (i32.const ${i}) (i32.div_u (local.get $bytes) (i32.const ${numStreams})))))`,
    )}
    (local.set $end (i32.add (local.get $p0) (i32.div_u (local.get $bytes) (i32.const ${numStreams}))))
    (loop $next
      ${lines(8, load)}
      ${lines(numStreams, (i) => `(local.set $p${i} (i32.add (local.get $p${i}) (i32.const ${loadsPerStream * 16})))`)}
      (br_if $next (i32.lt_u (local.get $p0) (local.get $end))))
    ${folded(8)})`;
}

/** @param dot expression for accumulator i over the constant operand `$b` */
function dots(name: string, dot: (accumulator: string) => string): string {
  return `
  (func $${name} (export "${name}") (param $rounds i32) (result i32)
    (local $b v128) ${lines(DOTS_PER_ROUND, (i) => `(local $a${i} v128)`)}
    (local.set $b (i8x16.splat (i32.const 3)))
    ${lines(DOTS_PER_ROUND, (i) => `(local.set $a${i} (i8x16.splat (i32.const ${i + 1})))`)}
    (loop $next
      ${lines(DOTS_PER_ROUND, (i) => `(local.set $a${i} ${dot(`(local.get $a${i})`)})`)}
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    ${folded(DOTS_PER_ROUND)})`;
}

/** All accumulators in one number, so that no loop is dead code. */
function folded(count: number): string {
  const sum = range(count).reduce(
    (rest, i) => (i === 0 ? "(local.get $a0)" : `(v128.xor ${rest} (local.get $a${i}))`),
    "",
  );
  return `(i32x4.extract_lane 0 ${sum})`;
}

const TEXT = `(module (memory (export "memory") 1)
  ${reader("read_1_stream", 1)}
  ${reader("read_4_streams", 4)}
  ${dots("dot_i32", (a) => `(i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get $b) (local.get $b) ${a})`)}
  ${dots("dot_i16", (a) => `(i16x8.add ${a} (i16x8.relaxed_dot_i8x16_i7x16_s ${a} (local.get $b)))`)}
  ${dots("dot_exact", (a) => `(i32x4.add ${a} (i32x4.dot_i16x8_s ${a} (local.get $b)))`)}
)`;

/** @param numBytes of memory to read from */
export function instantiateCeilings(numBytes: number): CeilingExports {
  const module = binaryen.parseText(TEXT);
  module.setFeatures(binaryen.Features.All);
  const compiled = compile(module.emitBinary());
  module.dispose();
  const exports = new WebAssembly.Instance(compiled, {}).exports as unknown as CeilingExports;
  exports.memory.grow(Math.ceil(numBytes / 65_536));
  // Pages that were never written are one page of zeros to the system, and reading that is reading the L1 cache.
  new Uint8Array(exports.memory.buffer).fill(1);
  return exports;
}
