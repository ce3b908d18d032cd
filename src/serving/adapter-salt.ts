/**
 * An adapter changes keys and values, so sequences share cached blocks with those of the same adapter only: it is part of
 * the salt. A client may choose any text as its salt, and none of them may be the salt of somebody with an adapter, because
 * that would not only tell him something but give him wrong numbers.
 */

/** No salt that this returns for an adapter is one that it returns for another, or for none. */
export function adapterSalt(salt: string, adapter: number): string {
  return adapter === 0 && !salt.startsWith(MARK) ? salt : `${MARK}${adapter}:${salt}`;
}

const MARK = "\0";
