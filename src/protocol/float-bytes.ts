/** Vectors as base64 of little-endian float32, whatever byte order the machine has. */

const BYTES_PER_FLOAT = 4;
/** `fromCharCode` takes so many arguments everywhere; a multiple of 3, so that pieces need no padding within. */
const PIECE_BYTES = 3 * 4096;

export function base64Floats(vector: Float32Array): string {
  const view = new DataView(new ArrayBuffer(vector.length * BYTES_PER_FLOAT));
  for (const [i, value] of vector.entries()) view.setFloat32(i * BYTES_PER_FLOAT, value, true);
  const bytes = new Uint8Array(view.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES)));
  }
  return text;
}
