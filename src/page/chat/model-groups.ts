/** Models by who runs them, for the picker: the answer's way is the reader's to choose. */
import type { Model } from "../state/state.ts";

export interface ModelGroup {
  label: string;
  ids: string[];
}

/** What the server calls its own. */
const EDGE_OWNER = "runnel";
const EDGE_LABEL = "On the edge";

/** @returns nothing where one runs all of them: a heading would say nothing */
export function groupModels(models: readonly Model[]): ModelGroup[] {
  const byOwner = new Map<string, string[]>();
  for (const { id, owner } of models) {
    const label = owner === null || owner === EDGE_OWNER ? EDGE_LABEL : `At ${owner}`;
    byOwner.set(label, [...(byOwner.get(label) ?? []), id]);
  }
  return byOwner.size < 2 ? [] : [...byOwner].map(([label, ids]) => ({ label, ids }));
}
