/** Who asks, and for what. */
import { modelNotAllowed } from "../protocol/errors.ts";

export interface Caller {
  /** Public id of the API key, which is in logs and names its tenant; null = a host that needs none. */
  keyId: string | null;
  /** Models that the key is for; null = all. */
  models: readonly string[] | null;
}

export const ANYBODY: Caller = { keyId: null, models: null };

export function mayUse({ models }: Caller, model: string): boolean {
  return models?.includes(model) ?? true;
}

/** @throws ApiError 403 */
export function assertMayUse(caller: Caller, model: string): void {
  if (!mayUse(caller, model)) throw modelNotAllowed(model, caller.models ?? []);
}

/**
 * Of the prefix cache: what one key's requests computed, no other one's can find. Ids of keys have no colon, so no salt of
 * a client can pass for another key's.
 */
export function tenantSalt({ keyId }: Caller, salt: string): string {
  return keyId === null ? salt : `${keyId}:${salt}`;
}
