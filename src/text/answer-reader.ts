/**
 * The text of an answer, as it comes, told apart: thoughts, words, calls of tools. Pieces may be cut anywhere; what comes
 * out adds up to the same whole. Text that may still turn out to be structure is held back, and only that.
 *
 * White space around structure (after `<think>`, on both sides of `</think>`, around calls) is dropped. What looks like a
 * call and is none, because it is no JSON, or names no tool there is, is words. A call whose arguments break off after its
 * name was given out stays a call with what there is of them.
 */
import type { ThinkingTags } from "./answer-syntax.ts";
import { JsonCallReader } from "./tools/json-call.ts";
import type { ToolFormat } from "./tools/tool-format.ts";

/** `end`: so much of the answer's text is decided with this part; UTF-16 units, those of dropped text included. */
export type AnswerPart =
  | { kind: "text" | "reasoning" | "arguments"; text: string; end: number }
  /** Opens a call. Parts of kind "arguments" belong to the last one that was opened. */
  | { kind: "call"; name: string; end: number };

export interface AnswerReaderOptions {
  /** null = no thoughts are looked for. */
  thinking: ThinkingTags | null;
  /** The prompt has opened the thoughts already. */
  isThinking: boolean;
  /** null = no calls are looked for. */
  tools: { format: ToolFormat; names: ReadonlySet<string> } | null;
}

type Place = "start" | "thoughts" | "gap" | "words" | "before call" | "call" | "after call";

export class AnswerReader {
  readonly #options: AnswerReaderOptions;
  #place: Place;
  /** Text that is not decided yet. */
  #held = "";
  /** Decided text. */
  #numDecided = 0;
  #parts: AnswerPart[] = [];
  #call: JsonCallReader | null = null;
  /** Characters of `#held` that `#call` has read. */
  #numRead = 0;
  #isCallOpen = false;
  /** Nothing but white space, and thoughts, came before. */
  #isFirst = true;
  #hasGap = false;
  #numCalls = 0;

  constructor(options: AnswerReaderOptions) {
    this.#options = options;
    this.#place = options.isThinking ? "thoughts" : "start";
    this.#hasGap = options.isThinking;
  }

  push(text: string): AnswerPart[] {
    this.#held += text;
    return this.#read(false);
  }

  /** No more text: what was held back is words after all, or thoughts. */
  flush(): AnswerPart[] {
    return this.#read(true);
  }

  #read(isEnd: boolean): AnswerPart[] {
    while (this.#step(isEnd));
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  /** @returns whether there may be more to decide */
  #step(isEnd: boolean): boolean {
    switch (this.#place) {
      case "start":
        return this.#start(isEnd);
      case "thoughts":
        return this.#thoughts(isEnd);
      case "gap":
        return this.#gap();
      case "words":
        return this.#words(isEnd);
      case "before call":
        return this.#beforeCall(isEnd);
      case "call":
        return this.#inCall(isEnd);
      case "after call":
        return this.#afterCall(isEnd);
    }
  }

  #start(isEnd: boolean): boolean {
    const { thinking } = this.#options;
    const text = this.#held.trimStart();
    if (thinking !== null && text.startsWith(thinking.open)) {
      this.#drop(this.#held.length - text.length + thinking.open.length);
      this.#hasGap = true;
      return this.#go("thoughts");
    }
    if (thinking?.open.startsWith(text) === true && !isEnd) return false;
    return this.#go("words");
  }

  #thoughts(isEnd: boolean): boolean {
    if (this.#hasGap) {
      this.#drop(this.#held.length - this.#held.trimStart().length);
      if (this.#held === "") return false;
      this.#hasGap = false;
    }
    const { close } = this.#options.thinking!;
    const at = this.#held.indexOf(close);
    if (at >= 0) {
      this.#give("reasoning", this.#held.slice(0, at).trimEnd());
      this.#drop(this.#held.indexOf(close) + close.length);
      return this.#go("gap");
    }
    const numHeld = isEnd ? 0 : beginningAtEnd(this.#held, close);
    const numGiven = this.#held.length - numHeld;
    this.#give("reasoning", isEnd ? this.#held : this.#held.slice(0, numGiven).trimEnd());
    return false;
  }

  #words(isEnd: boolean): boolean {
    const { tools } = this.#options;
    if (tools === null) {
      this.#give("text", this.#held);
      return false;
    }
    const { open, mayBeBare } = tools.format;
    const first = this.#held.trimStart();
    if (mayBeBare && this.#isFirst && first === "" && !isEnd) return false;
    if (mayBeBare && this.#isFirst && first.startsWith("{")) {
      this.#numRead = this.#held.length - first.length;
      return this.#beginCall();
    }
    const at = this.#held.indexOf(open);
    if (at >= 0) {
      this.#give("text", this.#held.slice(0, at).trimEnd());
      this.#numRead = this.#held.indexOf(open) + open.length;
      return this.#go("before call");
    }
    const numHeld = isEnd ? 0 : beginningAtEnd(this.#held, open);
    const text = this.#held.slice(0, this.#held.length - numHeld);
    // White space at the end of words is dropped where a call has come, and kept otherwise.
    this.#give("text", isEnd && this.#numCalls === 0 ? text : text.trimEnd());
    return false;
  }

  /** Behind `open`, of which `#held` still has all: it is words again where no call follows. */
  #beforeCall(isEnd: boolean): boolean {
    const { isList } = this.#options.tools!.format;
    if (!isList) return this.#beginCall();
    const rest = this.#held.slice(this.#numRead).trimStart();
    if (rest === "" && !isEnd) return false;
    if (!rest.startsWith("[")) return this.#noCall();
    this.#numRead = this.#held.length - rest.length + 1;
    return this.#beginCall();
  }

  #beginCall(): boolean {
    this.#call = new JsonCallReader(this.#options.tools!.names);
    this.#isCallOpen = false;
    return this.#go("call");
  }

  #inCall(isEnd: boolean): boolean {
    const call = this.#call!;
    this.#numRead += call.push(this.#held.slice(this.#numRead));
    const { name } = call;
    if (call.state === "broken" && name === null) return this.#noCall();
    if (name !== null) {
      this.#drop(this.#numRead);
      this.#numRead = 0;
      if (!this.#isCallOpen) this.#open(name);
      const text = call.takeArguments();
      if (text !== "") this.#parts.push({ kind: "arguments", text, end: this.#numDecided });
    }
    if (call.state === "whole") return this.#go("after call");
    if (call.state === "broken") return this.#go("words");
    return isEnd && name === null ? this.#noCall() : false;
  }

  #open(name: string): void {
    this.#isCallOpen = true;
    this.#isFirst = false;
    this.#numCalls++;
    this.#parts.push({ kind: "call", name, end: this.#numDecided });
  }

  /** What began it is words, and the rest is looked at again. */
  #noCall(): boolean {
    const { open } = this.#options.tools!.format;
    const text = this.#held.trimStart();
    const numWords = this.#held.length - text.length + (text.startsWith(open) ? open.length : 1);
    this.#isFirst = false;
    this.#numRead = 0;
    this.#give("text", this.#held.slice(0, numWords));
    return this.#go("words");
  }

  #afterCall(isEnd: boolean): boolean {
    const { isList, mayBeBare, close } = this.#options.tools!.format;
    const rest = this.#held.trimStart();
    const next = isList ? "," : mayBeBare ? ";" : null;
    if (next !== null && rest.startsWith(next)) {
      this.#numRead = this.#held.length - rest.length + 1;
      return this.#beginCall();
    }
    const end = isList ? "]" : close;
    if (end !== "" && rest.startsWith(end)) this.#drop(this.#held.length - rest.length + end.length);
    else if (!isEnd && end.startsWith(rest)) return false;
    return this.#go("gap");
  }

  #gap(): boolean {
    this.#drop(this.#held.length - this.#held.trimStart().length);
    return this.#held === "" ? false : this.#go("words");
  }

  #go(place: Place): true {
    this.#place = place;
    return true;
  }

  #drop(numChars: number): void {
    this.#held = this.#held.slice(numChars);
    this.#numDecided += numChars;
  }

  /** @param text the beginning of what is held */
  #give(kind: "text" | "reasoning", text: string): void {
    if (text === "") return;
    this.#drop(text.length);
    if (kind === "text" && text.trim() !== "") this.#isFirst = false;
    this.#parts.push({ kind, text, end: this.#numDecided });
  }
}

/** Length of the longest end of `text` that `marker` begins with. */
function beginningAtEnd(text: string, marker: string): number {
  for (let length = Math.min(marker.length - 1, text.length); length > 0; length--) {
    if (marker.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
