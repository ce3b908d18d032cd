/**
 * Just enough of PNG (ISO/IEC 15948) to compare two screenshots: 8-bit RGB or RGBA, not interlaced, which is what
 * Chromium writes. Anything else is refused.
 */
import { inflateSync } from "node:zlib";

export interface Image {
  width: number;
  height: number;
  /** width · height · 3 bytes, row by row; alpha is dropped, screenshots are opaque. */
  rgb: Uint8Array;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLOR_RGB = 2;
const COLOR_RGBA = 6;

export function decodePng(file: Buffer): Image {
  if (!file.subarray(0, 8).equals(SIGNATURE)) throw new Error("This is no PNG file.");
  const header = file.subarray(16, 29);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, color, , , interlace] = header.subarray(8) as unknown as number[];
  if (depth !== 8 || (color !== COLOR_RGB && color !== COLOR_RGBA) || interlace !== 0) {
    throw new Error(
      `PNG with depth ${depth}, colour type ${color}, interlace ${interlace}; only 8-bit RGB(A) is read.`,
    );
  }
  const numChannels = color === COLOR_RGB ? 3 : 4;
  const pixels = unfilter(inflateSync(imageData(file)), width * numChannels, height, numChannels);
  return { width, height, rgb: dropAlpha(pixels, numChannels) };
}

function imageData(file: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 8; at < file.length; ) {
    const numBytes = file.readUInt32BE(at);
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(file.subarray(at + 8, at + 8 + numBytes));
    at += 12 + numBytes;
  }
  return Buffer.concat(parts);
}

/** Section 9 of the standard: each row begins with its filter, which predicts a byte from its left and upper ones. */
function unfilter(raw: Buffer, rowBytes: number, height: number, numChannels: number): Uint8Array {
  const out = new Uint8Array(rowBytes * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (rowBytes + 1)]!;
    const row = y * rowBytes;
    for (let x = 0; x < rowBytes; x++) {
      const left = x >= numChannels ? out[row + x - numChannels]! : 0;
      const up = y > 0 ? out[row - rowBytes + x]! : 0;
      const upLeft = x >= numChannels && y > 0 ? out[row - rowBytes + x - numChannels]! : 0;
      out[row + x] = raw[y * (rowBytes + 1) + 1 + x]! + predict(filter, left, up, upLeft);
    }
  }
  return out;
}

function predict(filter: number, left: number, up: number, upLeft: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [a, b, c] = [Math.abs(up - upLeft), Math.abs(left - upLeft), Math.abs(left + up - 2 * upLeft)];
  return a <= b && a <= c ? left : b <= c ? up : upLeft;
}

function dropAlpha(pixels: Uint8Array, numChannels: number): Uint8Array {
  if (numChannels === 3) return pixels;
  const rgb = new Uint8Array((pixels.length / 4) * 3);
  for (let i = 0, o = 0; i < pixels.length; i += 4) {
    rgb[o++] = pixels[i]!;
    rgb[o++] = pixels[i + 1]!;
    rgb[o++] = pixels[i + 2]!;
  }
  return rgb;
}

/** A channel may differ by this much before its pixel counts: other CPUs round antialiased edges otherwise. */
const CHANNEL_TOLERANCE = 32;

/** Share of pixels that look different, 0 to 1; 1 where the sizes differ. */
export function imageDifference(a: Image, b: Image): number {
  if (a.width !== b.width || a.height !== b.height) return 1;
  let numDifferent = 0;
  for (let i = 0; i < a.rgb.length; i += 3) {
    const isDifferent = [0, 1, 2].some((c) => Math.abs(a.rgb[i + c]! - b.rgb[i + c]!) > CHANNEL_TOLERANCE);
    if (isDifferent) numDifferent++;
  }
  return numDifferent / (a.width * a.height);
}
