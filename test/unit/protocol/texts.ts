import fc from "fast-check";

/** Texts of the characters that break encoders: line ends, quotes, NUL, two to four UTF-8 bytes, half a surrogate pair. */
export const texts = fc
  .array(
    fc.constantFrom("a", " ", "\n", "\r", "\u2028", '"', "\\", "\0", "é", "語", "🦀", "👩‍🚀", "\ud83e", "data: ", "]"),
    {
      maxLength: 8,
    },
  )
  .map((pieces) => pieces.join(""));
