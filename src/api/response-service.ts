/** Where a host keeps responses, so that they can be read again and gone on from. */
import type { ResponseAddress } from "../protocol/responses/ids.ts";
import type { InputItem } from "../protocol/responses/items.ts";
import type { OutputItem, ResponseBody } from "../protocol/responses/response-body.ts";

export interface StoredResponse {
  /** The one it goes on from, in the same conversation. */
  previous: string | null;
  /** Its own input, without that of earlier ones. */
  input: InputItem[];
  body: ResponseBody;
}

export interface ResponseService {
  /** Those of one API key, which no other one finds. */
  of(keyId: string): ResponseService;
  /** null where there is none, as for all that follow. */
  get(address: ResponseAddress): Promise<ResponseBody | null>;
  /** All that was said up to this response and in it, oldest first; null also where an earlier one is gone. */
  history(address: ResponseAddress): Promise<InputItem[] | null>;
  /** Items of a conversation's responses, each at the place of its id. */
  items(conversation: string, ids: readonly string[]): Promise<(OutputItem | null)[]>;
  put(address: ResponseAddress, response: StoredResponse): Promise<void>;
  /** false where there was none. */
  delete(address: ResponseAddress): Promise<boolean>;
}
