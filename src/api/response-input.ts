/** What a response answers, made whole: the responses that it goes on from, and items that it names by their ids. */
import { invalidRequest, previousResponseNotFound, unsupportedParameter } from "../protocol/errors.ts";
import { REFERENCED_CONVERSATIONS_MAX } from "../protocol/limits.ts";
import { parseItemId, type ResponseAddress, responseIdOf } from "../protocol/responses/ids.ts";
import { type InputItem, type ItemReference, outputAsInput } from "../protocol/responses/items.ts";
import type { ResponseWireRequest } from "../protocol/responses/request.ts";
import type { OutputItem } from "../protocol/responses/response-body.ts";
import type { ResponseService } from "./response-service.ts";

export interface WholeInput {
  /** Of earlier responses, by `previous_response_id`. */
  history: InputItem[];
  /** Its own. */
  input: InputItem[];
  /** Where all of it belongs; null = nowhere yet. */
  conversation: string | null;
}

/** @throws ApiError 400 for what is not kept here (any more) */
export async function wholeInput(
  { items, previous }: Pick<ResponseWireRequest, "items" | "previous">,
  responses: ResponseService | null,
): Promise<WholeInput> {
  const { input, conversation } = await resolved(items, responses);
  if (previous === null) return { history: [], input, conversation };
  if (responses === null) throw unsupportedParameter("previous_response_id");
  const history = await responses.history(previous);
  if (history === null) throw previousResponseNotFound(responseIdOf(previous));
  return { history, input, conversation: previous.conversation };
}

type Reference = { item: ItemReference; index: number; address: ResponseAddress };

async function resolved(
  items: readonly (InputItem | ItemReference)[],
  responses: ResponseService | null,
): Promise<Omit<WholeInput, "history">> {
  const byConversation = new Map<string, Reference[]>();
  for (const [index, item] of items.entries()) {
    if (item.type !== "item_reference") continue;
    if (responses === null) throw unsupportedParameter(`input.${index}.type`);
    const address = parseItemId(item.id);
    if (address === null) throw itemNotFound(item, index);
    const references = byConversation.get(address.conversation) ?? [];
    byConversation.set(address.conversation, [...references, { item, index, address }]);
    if (byConversation.size > REFERENCED_CONVERSATIONS_MAX) throw tooManyConversations();
  }
  const found = new Map<number, OutputItem>();
  for (const [conversation, references] of byConversation) {
    const ids = references.map(({ item }) => item.id);
    const known = await responses!.items(conversation, ids);
    for (const [i, { item, index }] of references.entries()) {
      const output = known[i];
      if (output == null) throw itemNotFound(item, index);
      found.set(index, output);
    }
  }
  const input = items.flatMap((item, index) =>
    item.type === "item_reference" ? outputAsInput([found.get(index)!]) : [item],
  );
  return { input, conversation: [...byConversation.keys()].at(-1) ?? null };
}

function itemNotFound({ id }: ItemReference, index: number) {
  const param = `input.${index}.id`;
  const message = `'${param}' is ${JSON.stringify(id)}, but no such item is kept here. Send the item itself.`;
  return invalidRequest(message, param, "item_not_found");
}

function tooManyConversations() {
  return invalidRequest(
    `'input' refers to items of more than ${REFERENCED_CONVERSATIONS_MAX} conversations. Send the items themselves.`,
    "input",
  );
}
