import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Block, type Inline, parseInline, parseMarkdown } from "../../../src/page/text/markdown.ts";

/** A compact picture of a tree: tags around text. */
function draw(blocks: Block[]): string {
  return blocks.map(drawBlock).join(" ");
}

function drawBlock(block: Block): string {
  switch (block.kind) {
    case "paragraph":
      return `<p>${drawInline(block.children)}</p>`;
    case "heading":
      return `<h${block.level}>${drawInline(block.children)}</h${block.level}>`;
    case "code":
      return `<pre ${block.language}>${block.text}</pre>`;
    case "list": {
      const [tag, start] = block.ordered ? ["ol", ` ${block.start}`] : ["ul", ""];
      return `<${tag}${start}>${block.items.map((item) => `<li>${draw(item)}</li>`).join("")}</${tag}>`;
    }
  }
}

function drawInline(inlines: Inline[]): string {
  return inlines
    .map((inline) => {
      if (inline.kind === "text") return inline.text;
      if (inline.kind === "code") return `<code>${inline.text}</code>`;
      return `<${inline.kind}>${drawInline(inline.children)}</${inline.kind}>`;
    })
    .join("");
}

describe("blocks", () => {
  test.each([
    ["nothing", "", ""],
    ["paragraphs end at blank lines", "a\nb\n\n\nc", "<p>a\nb</p> <p>c</p>"],
    ["headings", "# A\ntext\n### B ##", "<h1>A</h1> <p>text</p> <h3>B</h3>"],
    ["a hash without space is text", "#1 is first", "<p>#1 is first</p>"],
    ["a fence", "```js\nlet a;\n\n**b**\n```\nafter", "<pre js>let a;\n\n**b**</pre> <p>after</p>"],
    ["an open fence runs to the end", "a\n```\nlet a;\n", "<p>a</p> <pre >let a;\n</pre>"],
    ["a longer fence may hold a shorter one", "````\n```\n````", "<pre >```</pre>"],
    ["bullets", "- a\n- b\n* c", "<ul><li><p>a</p></li><li><p>b</p></li><li><p>c</p></li></ul>"],
    ["a list ends a paragraph", "text:\n- a", "<p>text:</p> <ul><li><p>a</p></li></ul>"],
    ["numbers", "3. a\n4) b", "<ol 3><li><p>a</p></li><li><p>b</p></li></ol>"],
    [
      "a list of the other kind is another list",
      "- a\n1. b",
      "<ul><li><p>a</p></li></ul> <ol 1><li><p>b</p></li></ol>",
    ],
    ["a nested list", "- a\n  - b\n- c", "<ul><li><p>a</p> <ul><li><p>b</p></li></ul></li><li><p>c</p></li></ul>"],
    [
      "code in an item",
      "1. a\n   ```\n   x\n   ```\n2. b",
      "<ol 1><li><p>a</p> <pre >x</pre></li><li><p>b</p></li></ol>",
    ],
    ["a lazy line belongs to the item", "- a\nb\n\nc", "<ul><li><p>a\nb</p></li></ul> <p>c</p>"],
    ["blank lines between items", "- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
    ["a dash alone is text", "-", "<p>-</p>"],
    ["a year is not a list", "1969 was a year", "<p>1969 was a year</p>"],
    ["markup is text", "<b>hi</b> [a](javascript:b)", "<p><b>hi</b> [a](javascript:b)</p>"],
  ])("%s", (_, markdown, expected) => {
    expect(draw(parseMarkdown(markdown))).toBe(expected);
  });
});

describe("inside a line", () => {
  test.each([
    ["bold", "a **b** c", "a <strong>b</strong> c"],
    ["emphasis", "a *b* c", "a <emphasis>b</emphasis> c"],
    ["code keeps its marks", "`**a**`", "<code>**a**</code>"],
    ["code in bold", "**a `b`**", "<strong>a <code>b</code></strong>"],
    ["emphasis in bold", "**a *b* c**", "<strong>a <emphasis>b</emphasis> c</strong>"],
    ["two backticks may hold one", "``a`b``", "<code>a`b</code>"],
    ["open marks are text", "**a and `b", "**a and `b"],
    ["a product is no emphasis", "2 * 3 * 4", "2 * 3 * 4"],
    ["stars alone", "**** * **", "**** * **"],
  ])("%s", (_, text, expected) => {
    expect(drawInline(parseInline(text))).toBe(expected);
  });
});

const markdownLike = fc
  .array(fc.constantFrom("a", "word ", "**", "*", "`", "```", "\n", "\n\n", "- ", "1. ", "  ", "# ", "é", "🐉", "<b>"))
  .map((pieces) => pieces.join(""));

function wordsOf(text: string): string {
  return text.replace(/[^a-zé🐉<>]/gu, "");
}

test("loses no word of any text", () => {
  fc.assert(
    fc.property(markdownLike, (markdown) => {
      const drawn = parseMarkdown(markdown).map(textOf).join("");
      expect(wordsOf(drawn)).toBe(wordsOf(markdown));
    }),
  );
});

function textOf(block: Block): string {
  if (block.kind === "code") return block.language + block.text;
  if (block.kind === "list") return block.items.map((item) => item.map(textOf).join("")).join("");
  return inlineText(block.children);
}

function inlineText(inlines: Inline[]): string {
  return inlines.map((inline) => ("text" in inline ? inline.text : inlineText(inline.children))).join("");
}

test("text that grows changes only the last blocks", () => {
  const whole = "Intro **a**.\n\n- one\n- two\n\n```\ncode\n```\n\nThe end.";
  for (let length = 1; length < whole.length; length++) {
    const before = parseMarkdown(whole.slice(0, length)).map((block) => block.source);
    const after = parseMarkdown(whole.slice(0, length + 1)).map((block) => block.source);
    expect(after.slice(0, Math.max(before.length - 1, 0))).toEqual(before.slice(0, -1));
  }
});

test("hostile nesting and unmatched marks stay cheap", () => {
  expect(parseMarkdown("- ".repeat(5000))).toHaveLength(1);
  expect(parseMarkdown(`${"`".repeat(2000)}${"**a ".repeat(1000)}`)).toHaveLength(1);
});
