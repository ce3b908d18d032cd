/**
 * A JSON object with one long list, as pieces of its text: written one by one they never lie in memory together. The
 * text of a vector is five times as large as the vector.
 */

/** @param rest the object's other fields; the list comes last */
export function* jsonPieces(rest: object, listName: string, entries: Iterable<unknown>): Generator<string> {
  const head = JSON.stringify(rest).slice(0, -1);
  let between = `${head}${head === "{" ? "" : ","}${JSON.stringify(listName)}:[`;
  for (const entry of entries) {
    yield between + JSON.stringify(entry);
    between = ",";
  }
  yield between === "," ? "]}" : `${between}]}`;
}
