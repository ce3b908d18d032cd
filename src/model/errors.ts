/**
 * The one error of the model room. Its message stands alone: which file, which key or tensor, the value, the limit and
 * what to do. `kind` is for programs: a host turns it into a status, the command line into an exit code.
 */
export type ModelErrorKind =
  /** The source failed: gone, refused, cut off by the network, or changed while it was read. */
  | "unreadable"
  /** The bytes are not what the format says: truncated, contradictory, outside the reader's limits. */
  | "corrupt"
  | "unsupported_architecture"
  | "unsupported_type"
  /** A key or tensor that the architecture needs is not in the file. */
  | "missing"
  /** Sound, but of another vocabulary than the model that it was to guess for. */
  | "other_vocabulary"
  /** An adapter that is not one of this model, or adapts what cannot be. */
  | "unfit"
  /** Sound, but larger than the memory it may take. */
  | "over_budget";

export class ModelError extends Error {
  readonly kind: ModelErrorKind;

  constructor(kind: ModelErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ModelError";
    this.kind = kind;
  }
}

/** Two parts of one file do not fit together. */
export function contradiction(sourceName: string, what: string): ModelError {
  return new ModelError("corrupt", `${sourceName}: ${what}. The file contradicts itself.`);
}
