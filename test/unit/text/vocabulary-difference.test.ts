import { expect, test } from "vitest";
import { vocabularyDifference } from "../../../src/text/vocabulary-difference.ts";
import { ByteTokenizer } from "../serving/byte-tokenizer.ts";

test("two vocabularies are the same, or what differs first is named", () => {
  const tokenizer = new ByteTokenizer(["a", "b", [0xc3], [0xa9]]);
  expect(vocabularyDifference(tokenizer, new ByteTokenizer(["a", "b", [0xc3], [0xa9]]))).toBeNull();
  expect(vocabularyDifference(tokenizer, new ByteTokenizer(["a", "b"]))).toBe("it has 6 tokens, not 8");
  const other = new ByteTokenizer(["a", "c", [0xc3], [0xa9]]);
  expect(vocabularyDifference(tokenizer, other)).toBe('its token 5 is "c", not "b"');
  // No two pieces of characters are the same, though neither is a text.
  expect(vocabularyDifference(tokenizer, new ByteTokenizer(["a", "b", [0xa9], [0xc3]]))).toContain("token 6");
});
