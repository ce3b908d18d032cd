import fc from "fast-check";
import { expect, test } from "vitest";
import { base64Floats } from "../../../src/protocol/float-bytes.ts";
import { jsonPieces } from "../../../src/protocol/json-pieces.ts";

test("the pieces are the text of the object with its list, whatever is in it", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue()), (fields, entries) => {
      const { list: _, ...rest } = fields;
      const pieces = [...jsonPieces(rest, "list", entries)];
      expect(pieces).toHaveLength(entries.length + 1);
      expect(JSON.parse(pieces.join(""))).toEqual(JSON.parse(JSON.stringify({ ...rest, list: entries })));
    }),
  );
});

test("base64 is that of little-endian float32, however long", () => {
  fc.assert(
    fc.property(fc.float32Array({ maxLength: 10 }), fc.nat(9000), (head, numZeros) => {
      const vector = new Float32Array(head.length + numZeros);
      vector.set(head);
      const bytes = Buffer.from(base64Floats(vector), "base64");
      expect(bytes).toHaveLength(4 * vector.length);
      for (const [i, value] of head.entries()) expect(bytes.readFloatLE(4 * i)).toEqual(value);
    }),
  );
});
