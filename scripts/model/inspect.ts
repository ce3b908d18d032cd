/**
 * Everything that can be said about a model from its header, before a byte of it is copied: can it be read, can its
 * text be tokenized, does it fit. The same code that the Worker loads it with decides.
 */

import {
  budgetFrom,
  JS_RESERVE_BYTES,
  type MemoryPlan,
  type ModelNeeds,
  planMemory,
  tokenizerBytesOf,
} from "../../src/edge/budget.ts";
import type { ByteSource } from "../../src/model/byte-source.ts";
import { describeModel, describeTypes, type ModelDescription } from "../../src/model/describe.ts";
import { ModelError } from "../../src/model/errors.ts";
import type { GgufHeader } from "../../src/model/gguf.ts";
import { readGgufHeader } from "../../src/model/gguf-reader.ts";
import type { ModelSpec } from "../../src/model/model-spec.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { ApiError } from "../../src/protocol/errors.ts";
import { loadText } from "../../src/text/index.ts";
import { formatBytes } from "./progress.ts";

export interface Inspection {
  header: GgufHeader;
  spec: ModelSpec;
  description: ModelDescription;
  memory: MemoryPlan;
  budgetBytes: number;
}

/** @throws ModelError where the model cannot be served, naming what and the numbers */
export async function inspect(source: ByteSource, budgetVariable: string | undefined): Promise<Inspection> {
  const budgetBytes = budgetFrom(budgetVariable);
  const header = await readGgufHeader(source);
  const spec = specFromGguf(header, source.name);
  loadText(header, { nowMs: () => Date.now() });
  const memory = planWholeBudget(
    source.name,
    { spec, tokenizerBytes: tokenizerBytesOf(header), kvPrecision: null },
    budgetBytes,
  );
  return { header, spec, description: describeModel(header), memory, budgetBytes };
}

/** The plan of an isolate that holds nothing else. */
function planWholeBudget(name: string, needs: ModelNeeds, budgetBytes: number): MemoryPlan {
  try {
    // Null means "not beside others", and there are none.
    return planMemory(name, needs, budgetBytes, budgetBytes - JS_RESERVE_BYTES)!;
  } catch (cause) {
    if (cause instanceof ApiError) throw new ModelError("over_budget", cause.message, { cause });
    throw cause;
  }
}

/** A few lines for people: what it is, and where the memory goes. */
export function inspectionText({ header, spec, description, memory, budgetBytes }: Inspection): string {
  const { engine, tokenizerBytes, totalBytes } = memory;
  const name = header.metadata.get("general.name");
  const about = [
    typeof name === "string" ? name : null,
    `${spec.architecture}`,
    `${(description.numParameters / 1e6).toFixed(1)} M parameters`,
    `${description.quantization} (${describeTypes(description.types)})`,
  ];
  const contextBytes = Math.ceil(engine.contextLength / engine.blockTokens) * engine.blockBytes;
  const rows: [string, number][] = [
    ["weights", engine.weightsBytes],
    [`KV of one context, ${engine.contextLength} tokens in ${engine.kvPrecision}`, contextBytes],
    ["KV of further contexts and the prefix cache", engine.kvBytes - contextBytes],
    ["scratch", engine.scratchBytes],
    ["tokenizer", tokenizerBytes],
    ["reserve for the runtime and requests", JS_RESERVE_BYTES],
    [`total, of ${formatBytes(budgetBytes)}`, totalBytes + JS_RESERVE_BYTES],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  const lines = rows.map(([label, bytes]) => `  ${label.padEnd(width)}  ${formatBytes(bytes).padStart(9)}`);
  const context =
    engine.contextLength < spec.contextLength
      ? `  The largest context that fits is ${engine.contextLength} tokens; the model was trained on ${spec.contextLength}.`
      : `  Its whole context of ${spec.contextLength} tokens fits.`;
  return [about.filter((part) => part !== null).join(" · "), ...lines, context].join("\n");
}
