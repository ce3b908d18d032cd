/** Bytes that no node of a program tells apart are one class: tables of transitions get a quarter as wide, or less. */
import type { ProgramNode } from "./program.ts";

export class ByteClasses {
  /** By byte. */
  readonly of = new Uint8Array(256);
  /** By class: one of its bytes. */
  readonly example: number[] = [0];

  constructor(nodes: readonly ProgramNode[]) {
    const isFirst = new Uint8Array(257);
    for (const node of nodes) {
      if (node.kind !== "bytes") continue;
      for (let i = 0; i < node.edges.length; i += 3) {
        isFirst[node.edges[i]!] = 1;
        isFirst[node.edges[i + 1]! + 1] = 1;
      }
    }
    for (let byte = 1; byte < 256; byte++) {
      if (isFirst[byte] === 1) this.example.push(byte);
      this.of[byte] = this.example.length - 1;
    }
  }

  get count(): number {
    return this.example.length;
  }
}
