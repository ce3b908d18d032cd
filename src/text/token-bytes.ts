/**
 * Token text → bytes. Byte-level BPE writes each byte as one printable character (GPT-2's alphabet: printable Latin-1
 * stands for itself, the other 68 bytes follow from U+0100); SentencePiece writes a space as U+2581.
 */
import { TOKEN_KIND, type Vocabulary } from "./vocabulary.ts";

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();

const BYTE_BY_CHARACTER = byteLevelAlphabet();

/** Fresh array of the bytes that token `id` stands for; empty for control, unknown and unused tokens. */
export function tokenBytes(vocabulary: Vocabulary, id: number): Uint8Array {
  const text = vocabulary.tokens[id];
  if (text === undefined) return EMPTY;
  switch (vocabulary.kinds[id]) {
    case TOKEN_KIND.NORMAL:
      return vocabulary.alphabet === "byte-level"
        ? byteLevelBytes(text)
        : encoder.encode(text.replaceAll("\u2581", " "));
    case TOKEN_KIND.BYTE:
      return byteTokenBytes(text);
    case TOKEN_KIND.USER_DEFINED:
      return encoder.encode(text);
    default:
      return EMPTY;
  }
}

/** The byte of a `<0xNN>` token, or null for any other text. */
export function byteOfToken(text: string): number | null {
  return /^<0x[0-9A-F]{2}>$/i.test(text) ? Number.parseInt(text.slice(3, 5), 16) : null;
}

function byteTokenBytes(text: string): Uint8Array {
  const byte = byteOfToken(text);
  return byte === null ? encoder.encode(text) : Uint8Array.of(byte);
}

function byteLevelBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = BYTE_BY_CHARACTER.get(text.charCodeAt(i));
    // A token outside the alphabet was added as plain text.
    if (byte === undefined) return encoder.encode(text);
    bytes[i] = byte;
  }
  return bytes;
}

function byteLevelAlphabet(): Map<number, number> {
  const bytes = new Map<number, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    bytes.set(isPrintable ? byte : next++, byte);
  }
  return bytes;
}
