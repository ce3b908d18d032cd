/** Kept responses as the routes see them: those of each conversation in its own object. */
import type { ResponseService } from "../api/response-service.ts";
import type { Env } from "./env.ts";

export function edgeResponses(env: Env): ResponseService {
  // A stub for each call: one whose object broke stays broken.
  const object = (conversation: string) => env.RESPONSE_CONVERSATION.getByName(conversation);
  return {
    get: async ({ conversation, response }) => object(conversation).get(response),
    history: async ({ conversation, response }) => object(conversation).history(response),
    items: async (conversation, ids) => object(conversation).items(ids),
    async put({ conversation, response }, stored) {
      await object(conversation).put(response, stored);
    },
    delete: async ({ conversation, response }) => object(conversation).delete(response),
  };
}
