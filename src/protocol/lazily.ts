/**
 * A value that is made when it is first asked for. Schemas take some kilobytes a field of an isolate's heap, and most
 * isolates never hear of most APIs.
 */
export function lazily<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
