/**
 * Draws Markdown as DOM nodes and, while the text grows, redraws only the blocks that changed: what stands keeps its
 * nodes, so a reader can select text in an answer that is still streaming.
 */
import { type Block, type Inline, parseMarkdown } from "../text/markdown.ts";
import { el } from "./dom.ts";

export class MarkdownView {
  readonly element = el("div", { class: "markdown" });
  #sources: string[] = [];

  render(markdown: string): void {
    const blocks = parseMarkdown(markdown);
    let numSame = 0;
    while (numSame < blocks.length && blocks[numSame]!.source === this.#sources[numSame]) numSame++;
    while (this.element.childNodes.length > numSame) this.element.lastChild!.remove();
    this.element.append(...blocks.slice(numSame).map(blockNode));
    this.#sources = blocks.map((block) => block.source);
  }
}

function blockNode(block: Block): Node {
  switch (block.kind) {
    case "paragraph":
      return el("p", {}, ...block.children.map(inlineNode));
    case "heading":
      // The page's own headings are levels 1 and 2; what an answer writes lies below them.
      return el(
        "p",
        { class: "heading", role: "heading", "aria-level": Math.min(block.level + 2, 6) },
        ...block.children.map(inlineNode),
      );
    case "code":
      // Focusable, so that the keyboard can scroll long lines.
      return el("pre", { tabindex: 0, "data-language": block.language || null }, el("code", {}, block.text));
    case "list": {
      const start = block.ordered && block.start !== 1 ? block.start : null;
      return el(block.ordered ? "ol" : "ul", { start }, ...block.items.map((item) => el("li", {}, ...itemNodes(item))));
    }
  }
}

/** An item's first paragraph needs no element of its own. */
function itemNodes(item: Block[]): Node[] {
  const [first, ...rest] = item;
  if (first?.kind !== "paragraph") return item.map(blockNode);
  return [...first.children.map(inlineNode), ...rest.map(blockNode)];
}

function inlineNode(inline: Inline): Node {
  switch (inline.kind) {
    case "text":
      return document.createTextNode(inline.text);
    case "code":
      return el("code", {}, inline.text);
    case "strong":
      return el("strong", {}, ...inline.children.map(inlineNode));
    case "emphasis":
      return el("em", {}, ...inline.children.map(inlineNode));
  }
}
