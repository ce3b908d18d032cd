/** Texts to vectors: the one internal request and its answer, whatever wire format asks. */
import type { Prompt } from "./generate.ts";

export interface EmbedRequest {
  /** For errors and logs, as in `GenerateRequest`. */
  requestId: string;
  model: string;
  /** One vector for each. */
  prompts: Prompt[];
  /** The vector's first so many components, made a unit vector again; null = all that the model has. */
  dimensions: number | null;
  /** Cut a prompt that is longer than the context at its end; false = refuse it. */
  truncate: boolean;
  /** Salt of the prefix cache: requests share cached KV only with the same salt. */
  cacheSalt: string;
}

export interface Embeddings {
  /** The one that was asked, by its own name. */
  model: string;
  /** Unit vectors, in the order of the prompts. */
  vectors: Float32Array[];
  /** Sum over the prompts. */
  promptTokens: number;
}
