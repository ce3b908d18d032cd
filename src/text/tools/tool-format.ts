/**
 * How a family of models writes calls of tools, as data: one reader (`answer-reader.ts`), one grammar (`call-grammar.ts`)
 * and one contract suite work from it. Every format known here writes a call as a JSON object with its name and its
 * arguments; they differ in what stands around it.
 */
export interface ToolFormat {
  readonly name: string;
  /** Whether a chat template that takes tools teaches this format. */
  matches(templateSource: string): boolean;
  /** Stands in front of a call, or of a list of calls. May be a control token. */
  readonly open: string;
  /** A call may begin an answer without `open`. */
  readonly mayBeBare: boolean;
  /** The calls are a JSON list. */
  readonly isList: boolean;
  /** Between `open` and the call or the list, as models of this kind write it. */
  readonly before: string;
  /** Between the call or the list and `close`. */
  readonly after: string;
  /** Behind a call, or a list of calls; "" = nothing. May be a control token. */
  readonly close: string;
  /** From the end of a call to the next one. */
  readonly separator: string;
  /** The key that arguments have in what is written; "arguments" and "parameters" are read in all formats. */
  readonly argumentsKey: "arguments" | "parameters";
}
