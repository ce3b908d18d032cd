/**
 * The small part of Markdown that chat models write: paragraphs, headings, lists (nested), fenced code, **bold**,
 * *emphasis*, `code`. Gives a tree, never markup: the view builds DOM nodes from it, so text from a model can not
 * become an element, a link or a script. Marks that are still open (the answer is growing) stay text, except a code
 * fence, which runs to the end. Nothing is ever lost: what is no Markdown is a paragraph.
 */

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "strong"; children: Inline[] }
  | { kind: "emphasis"; children: Inline[] };

/** `source` is the text it came from: blocks with the same source look the same, so that the view can keep them. */
export type Block = { source: string } & (
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "heading"; level: number; children: Inline[] }
  | { kind: "code"; language: string; text: string }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] }
);

/** Lists in lists; deeper marks are text. Bounds the recursion on hostile input such as "- - - - …". */
const NESTING_MAX = 6;

const FENCE = /^\s{0,3}(```+|~~~+)\s*([^`]*?)\s*$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(?=\S)/;

export function parseMarkdown(markdown: string): Block[] {
  return parseBlocks(markdown.split("\n"), 0);
}

function parseBlocks(lines: string[], depth: number): Block[] {
  const blocks: Block[] = [];
  let i = 0;
  while (i < lines.length) {
    if (lines[i]!.trim() === "") {
      i++;
      continue;
    }
    const end = blockEnd(lines, i, depth);
    blocks.push(parseBlock(lines.slice(i, end), depth));
    i = end;
  }
  return blocks;
}

/** Line after the last one of the block that begins at `start`. */
function blockEnd(lines: string[], start: number, depth: number): number {
  const first = lines[start]!;
  const fence = FENCE.exec(first);
  if (fence !== null) {
    const close = lines.findIndex((line, i) => i > start && closesFence(line, fence[1]!));
    return close < 0 ? lines.length : close + 1;
  }
  if (HEADING.test(first)) return start + 1;
  const item = depth < NESTING_MAX ? ITEM.exec(first) : null;
  return item === null ? paragraphEnd(lines, start, depth) : listEnd(lines, start, item);
}

function closesFence(line: string, fence: string): boolean {
  const mark = line.trim();
  return mark.length >= fence.length && mark === fence[0]!.repeat(mark.length);
}

function paragraphEnd(lines: string[], start: number, depth: number): number {
  let end = start + 1;
  while (end < lines.length && lines[end]!.trim() !== "" && !interruptsParagraph(lines[end]!, depth)) end++;
  return end;
}

function interruptsParagraph(line: string, depth: number): boolean {
  return FENCE.test(line) || HEADING.test(line) || (depth < NESTING_MAX && ITEM.test(line));
}

/** A list goes on over items of its kind, lines indented under an item, and blank lines between those. */
function listEnd(lines: string[], start: number, first: RegExpExecArray): number {
  const indent = first[1]!.length;
  let end = start + 1;
  for (let i = start + 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (line.trim() === "") continue;
    const item = ITEM.exec(line);
    const continues =
      indentOf(line) > indent + 1 || (item !== null && isOrdered(item) === isOrdered(first) && !/^\s{4,}/.test(line));
    // Right after an item's line, a plain line belongs to it; after a blank line it is a new paragraph.
    const isLazy = i === end && item === null && !interruptsParagraph(line, 0);
    if (!continues && !isLazy) break;
    end = i + 1;
  }
  return end;
}

function isOrdered(item: RegExpExecArray): boolean {
  return /\d/.test(item[2]!);
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function parseBlock(lines: string[], depth: number): Block {
  const source = lines.join("\n");
  const first = lines[0]!;
  const fence = FENCE.exec(first);
  if (fence !== null) {
    const isClosed = lines.length > 1 && closesFence(lines.at(-1)!, fence[1]!);
    return { kind: "code", source, language: fence[2]!, text: lines.slice(1, isClosed ? -1 : undefined).join("\n") };
  }
  const heading = HEADING.exec(first);
  if (heading !== null) {
    return { kind: "heading", source, level: heading[1]!.length, children: parseInline(heading[2]!) };
  }
  const item = depth < NESTING_MAX ? ITEM.exec(first) : null;
  if (item !== null) {
    const start = isOrdered(item) ? Number.parseInt(item[2]!, 10) : 1;
    return { kind: "list", source, ordered: isOrdered(item), start, items: parseItems(lines, item, depth) };
  }
  return { kind: "paragraph", source, children: parseInline(lines.map((line) => line.trim()).join("\n")) };
}

function parseItems(lines: string[], first: RegExpExecArray, depth: number): Block[][] {
  const indent = first[1]!.length;
  const items: string[][] = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item !== null && item[1]!.length <= indent + 1) items.push([line.slice(item[0].length)]);
    else items.at(-1)!.push(line.slice(Math.min(indentOf(line), first[0].length)));
  }
  return items.map((itemLines) => parseBlocks(itemLines, depth + 1));
}

const INLINE = /(`+)(?!`)(.+?)(?<!`)\1(?!`)|\*\*(?=[^\s*])(.+?)(?<=\S)\*\*(?!\*)|\*(?=[^\s*])([^*]+?)(?<=\S)\*(?!\*)/gs;

export function parseInline(text: string): Inline[] {
  const inlines: Inline[] = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) inlines.push({ kind: "text", text: text.slice(from, match.index) });
    const [whole, , code, strong, emphasis] = match;
    if (code !== undefined) inlines.push({ kind: "code", text: code });
    else if (strong !== undefined) inlines.push({ kind: "strong", children: parseInline(strong) });
    else inlines.push({ kind: "emphasis", children: parseInline(emphasis!) });
    from = match.index + whole.length;
  }
  if (from < text.length) inlines.push({ kind: "text", text: text.slice(from) });
  return inlines;
}
