/** One operation of the API as data: what `operations.ts` lists and `document.ts` writes out. */
import type { z } from "zod";

/** Whose error bodies a path has; `error-shapes.ts` of the API decides it for the code. */
export type Dialect = "openai" | "ollama" | "tgi";

export type OpenApiMethod = "get" | "post" | "put" | "delete";

export interface Operation {
  /** In the words of the code's routes: `/v1/sessions/:id`. */
  path: string;
  method: OpenApiMethod;
  id: string;
  tag: string;
  summary: string;
  dialect: Dialect;
  /** absent = it reads no body */
  request?: z.ZodType;
  /** A body may be left out. */
  isBodyOptional?: boolean;
  /** Status → what is answered; media type → name of a component, or null for what has no schema. */
  answers: Record<string, Answer>;
  /** Readable without a key. */
  isOpen?: boolean;
  /** Query and header parameters; those of the path are read off it. */
  parameters?: readonly { name: string; in: "query" | "header"; description: string }[];
}

export interface Answer {
  description: string;
  content?: Record<string, string | null>;
}
