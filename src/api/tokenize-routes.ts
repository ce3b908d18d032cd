/** vLLM's POST /tokenize and /detokenize, and its GET /version. */
import {
  decodeDetokenize,
  decodeTokenize,
  detokenizeBody,
  tgiTokens,
  tokenizeBody,
} from "../protocol/openai/tokenize.ts";
import { VERSION } from "../protocol/version.ts";
import type { ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { firstModel } from "./known-model.ts";
import type { Route } from "./routes.ts";

export function tokenizeRoutes({ models }: ApiOptions): Route[] {
  const named = async <T extends { model: string | null }>(request: T) => ({
    ...request,
    model: request.model ?? (await firstModel(models)).id,
  });

  const tokenize: ApiHandler = async (context) => {
    const { request, isTgi } = decodeTokenize(await readJsonBody(context.req.raw), context.get("requestId"));
    const tokenized = await models.tokenize(await named(request), context.req.raw.signal);
    const { prompt } = request;
    return Response.json(isTgi && prompt.kind === "text" ? tgiTokens(tokenized, prompt.text) : tokenizeBody(tokenized));
  };

  const detokenize: ApiHandler = async (context) => {
    const request = decodeDetokenize(await readJsonBody(context.req.raw), context.get("requestId"));
    return Response.json(detokenizeBody(await models.detokenize(await named(request), context.req.raw.signal)));
  };

  return [
    { path: "/tokenize", methods: { POST: tokenize } },
    { path: "/detokenize", methods: { POST: detokenize } },
    { path: "/version", methods: { GET: () => Response.json({ version: VERSION }) } },
  ];
}
