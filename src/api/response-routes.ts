/**
 * POST /v1/responses, and the responses that are kept. A kept response can be read, deleted and gone on from: by its id, or
 * by the ids of its items. Whatever is refused is refused before the 200.
 */
import { apiErrorOf } from "../protocol/error-event.ts";
import { invalidRequest, notFound, unsupportedParameter } from "../protocol/errors.ts";
import type { ChatMessage, GenerateRequest } from "../protocol/generate.ts";
import { RESPONSE_INPUT_BYTES_MAX } from "../protocol/limits.ts";
import { newResponseAddress, parseResponseId, type ResponseAddress, responseIdOf } from "../protocol/responses/ids.ts";
import { type InputItem, messagesOf } from "../protocol/responses/items.ts";
import { ResponseOutput } from "../protocol/responses/output.ts";
import { decodeResponseRequest, type ResponseWireRequest } from "../protocol/responses/request.ts";
import { type ResponseFrame, responseDeletedBody } from "../protocol/responses/response-body.ts";
import { ResponseStream } from "../protocol/responses/stream.ts";
import { encodedResponse, markFallback } from "./answer-response.ts";
import { readAnswer } from "./collect-answer.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { KeptEvents } from "./kept-events.ts";
import type { EventStream, ModelService } from "./model-service.ts";
import { wholeInput } from "./response-input.ts";
import type { ResponseService } from "./response-service.ts";
import type { Route } from "./routes.ts";
import { routingKeyOf } from "./routing-key.ts";
import { startGeneration } from "./start-generation.ts";
import { generateTruncated } from "./truncated-generation.ts";

/** What was said belongs in no cache. */
const PRIVATE = { "cache-control": "no-store" };

export function responseRoutes(options: ApiOptions): Route[] {
  const responses = options.responses ?? null;
  const create: Route = { path: "/v1/responses", methods: { POST: respond(options, responses) } };
  if (responses === null) return [create];
  return [create, { path: "/v1/responses/:id", methods: { GET: read(responses), DELETE: remove(responses) } }];
}

function respond(options: ApiOptions, responses: ResponseService | null): ApiHandler {
  return async (context) => {
    const request = decodeResponseRequest(await readJsonBody(context.req.raw), context.get("requestId"));
    const own = responses && responsesOf(context, responses);
    const keeper = keeperOf(request, own);
    const { history, input, conversation } = await wholeInput(request, own);
    if (keeper !== null) checkKeepable(input);
    const address = newResponseAddress(conversation, options.randomId);
    const frame: ResponseFrame = {
      id: responseIdOf(address),
      createdS: Math.floor(options.clock.nowMs() / 1000),
      echo: { ...request.echo, store: keeper !== null },
    };
    const events = await ask(context, options, request, [...history, ...input]);
    const previous = request.previous?.response ?? null;
    const answer =
      keeper === null
        ? events
        : new KeptEvents(events, frame, (body) => keeper.put(address, { previous, input, body }));
    const response = request.stream
      ? encodedResponse(context, options, new ResponseStream(frame), answer)
      : await wholeResponse(context, frame, answer);
    return markFallback(response, events.fallbackModel ?? null);
  };
}

/** Whose responses: those of the caller's key. */
function responsesOf(context: ApiContext, responses: ResponseService): ResponseService {
  const { keyId } = context.get("caller");
  return keyId === null ? responses : responses.of(keyId);
}

/** null = the response is not kept. */
function keeperOf({ store }: ResponseWireRequest, responses: ResponseService | null): ResponseService | null {
  if (store === true && responses === null) throw unsupportedParameter("store", [false]);
  return store === false ? null : responses;
}

/** Input and answer share one row of storage. */
function checkKeepable(input: readonly InputItem[]): void {
  const numBytes = new TextEncoder().encode(JSON.stringify(input)).length;
  if (numBytes <= RESPONSE_INPUT_BYTES_MAX) return;
  throw invalidRequest(
    `'input' is ${numBytes} bytes; a response keeps at most ${RESPONSE_INPUT_BYTES_MAX}. Shorten it or set "store": false.`,
    "input",
  );
}

function ask(
  context: ApiContext,
  options: ApiOptions,
  { generate, extras, instructions, truncates, promptCacheKey }: ResponseWireRequest,
  items: readonly InputItem[],
): Promise<EventStream> {
  const messages = messagesOf(instructions, items);
  const asked = (some: ChatMessage[]): GenerateRequest => ({
    ...generate,
    prompts: [{ kind: "chat", messages: some, ...extras }],
  });
  const whole = asked(messages);
  // Where a turn is left out the lane stays the same.
  const key = routingKeyOf(whole, promptCacheKey);
  if (!truncates) return startGeneration(context, options, whole, key);
  const { models } = options;
  const truncating: ModelService = {
    ...models,
    generate: (request, routingKey, signal) =>
      generateTruncated(messages, (some) =>
        models.generate({ ...request, prompts: asked(some).prompts }, routingKey, signal),
      ),
  };
  return startGeneration(context, { ...options, models: truncating }, whole, key);
}

async function wholeResponse(context: ApiContext, frame: ResponseFrame, events: EventStream): Promise<Response> {
  const output = new ResponseOutput(frame);
  await readAnswer(events, context.req.raw.signal, (event) => {
    if (event.type === "error") throw apiErrorOf(event);
    output.add(event);
  });
  output.end();
  return Response.json(output.body());
}

function read(responses: ResponseService): ApiHandler {
  return async (context) => {
    const { id, address } = asked(context);
    if (context.req.query("stream") === "true") throw unsupportedParameter("stream", [false]);
    const body = await responsesOf(context, responses).get(address);
    if (body === null) throw noSuchResponse(id);
    return Response.json(body, { headers: PRIVATE });
  };
}

function remove(responses: ResponseService): ApiHandler {
  return async (context) => {
    const { id, address } = asked(context);
    if (!(await responsesOf(context, responses).delete(address))) throw noSuchResponse(id);
    return Response.json(responseDeletedBody(id));
  };
}

/** No object is woken for what cannot be an id. */
function asked(context: ApiContext): { id: string; address: ResponseAddress } {
  const id = context.req.param("id") ?? "";
  const address = parseResponseId(id);
  if (address === null) throw noSuchResponse(id);
  return { id, address };
}

function noSuchResponse(id: string) {
  return notFound(`The response '${id.slice(0, 128)}'`);
}
