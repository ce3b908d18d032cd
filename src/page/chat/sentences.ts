/**
 * Cuts a growing answer into finished sentences for the screen reader: a live region that spoke every token would
 * stutter. Marks of Markdown are left out, since "asterisk asterisk" helps nobody. A sentence ends with its mark and
 * white space after it, or with the line.
 */

const SENTENCE_END = /[.!?…。！？][\])"'”’*`]*(?=\s)|\n/g;

export class SentenceBuffer {
  #pending = "";

  /** Takes the next piece and gives the sentences that it finished. */
  push(text: string): string[] {
    this.#pending += text;
    const sentences: string[] = [];
    let from = 0;
    for (const match of this.#pending.matchAll(SENTENCE_END)) {
      const to = match.index + match[0].length;
      sentences.push(this.#pending.slice(from, to));
      from = to;
    }
    this.#pending = this.#pending.slice(from);
    return sentences.map(speakable).filter((sentence) => sentence !== "");
  }

  /** What is left when the answer ends. */
  flush(): string[] {
    const rest = speakable(this.#pending);
    this.#pending = "";
    return rest === "" ? [] : [rest];
  }
}

function speakable(markdown: string): string {
  return markdown
    .replace(/^\s*(```.*|#{1,6}\s|[-*+]\s)/, "")
    .replace(/\*\*|`/g, "")
    .replace(/\s+/g, " ")
    .trim();
}
