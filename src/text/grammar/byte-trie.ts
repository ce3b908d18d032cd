/**
 * Tokens as a trie over their bytes, laid out flat in depth-first order: a walk goes forward through arrays and jumps
 * over a subtree where no grammar goes on. Ten bytes a node.
 */

/** A token; Latin-1 stands for its bytes. */
export interface TrieEntry {
  id: number;
  text: string;
}

export class ByteTrie {
  /** By node: the byte that leads to it. */
  readonly bytes: Uint8Array;
  /** By node: its distance from the root's children. Tokens have up to 255 bytes. */
  readonly depths: Uint8Array;
  /** By node: the node behind its subtree. */
  readonly ends: Int32Array;
  /** By node: the token that ends here, −1 for none. */
  readonly tokens: Int32Array;
  /** Tokens of the same bytes as one in `tokens`. */
  readonly twins = new Map<number, number[]>();
  /** The longest token's bytes, at least 1. */
  readonly lengthMax: number;

  /** @param entries in the order of their bytes */
  constructor(entries: readonly TrieEntry[]) {
    const numNodes = countNodes(entries);
    this.bytes = new Uint8Array(numNodes);
    this.depths = new Uint8Array(numNodes);
    this.ends = new Int32Array(numNodes);
    this.tokens = new Int32Array(numNodes).fill(-1);
    this.lengthMax = entries.reduce((most, { text }) => Math.max(most, text.length), 1);
    this.#fill(entries);
  }

  get heldBytes(): number {
    return this.bytes.length * 10;
  }

  #fill(entries: readonly TrieEntry[]): void {
    /** Nodes from the root to the last token's. */
    const path: number[] = [];
    let previous = "";
    let numNodes = 0;
    for (const { id, text } of entries) {
      const numShared = sharedLength(previous, text);
      while (path.length > numShared) this.ends[path.pop()!] = numNodes;
      for (let depth = numShared; depth < text.length; depth++) {
        this.bytes[numNodes] = text.charCodeAt(depth);
        this.depths[numNodes] = depth;
        path.push(numNodes++);
      }
      const node = path[path.length - 1]!;
      const first = this.tokens[node]!;
      if (first < 0) this.tokens[node] = id;
      else this.twins.set(first, [...(this.twins.get(first) ?? []), id]);
      previous = text;
    }
    while (path.length > 0) this.ends[path.pop()!] = numNodes;
  }
}

function countNodes(entries: readonly TrieEntry[]): number {
  let previous = "";
  let numNodes = 0;
  for (const { text } of entries) {
    numNodes += text.length - sharedLength(previous, text);
    previous = text;
  }
  return numNodes;
}

function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
