/** Kept responses as the routes see them: those of each conversation in its own object. */
import type { ResponseService } from "../api/response-service.ts";
import type { Env } from "./env.ts";

/** @param keyId of the API key whose responses they are; null = of nobody's */
export function edgeResponses(env: Env, keyId: string | null = null): ResponseService {
  const nameOf = (conversation: string) => (keyId === null ? conversation : `${keyId}:${conversation}`);
  // A stub for each call: one whose object broke stays broken.
  const object = (conversation: string) => env.RESPONSE_CONVERSATION.getByName(nameOf(conversation));
  return {
    of: (otherKeyId) => edgeResponses(env, otherKeyId),
    get: async ({ conversation, response }) => object(conversation).get(response),
    history: async ({ conversation, response }) => object(conversation).history(response),
    items: async (conversation, ids) => object(conversation).items(ids),
    async put({ conversation, response }, stored) {
      await object(conversation).put(response, stored);
    },
    delete: async ({ conversation, response }) => object(conversation).delete(response),
  };
}
