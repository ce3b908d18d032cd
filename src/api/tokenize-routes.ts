/** vLLM's POST /tokenize and /detokenize, and its GET /version. */
import {
  decodeDetokenize,
  decodeTokenize,
  detokenizeBody,
  tgiTokens,
  tokenizeBody,
} from "../protocol/openai/tokenize.ts";
import { VERSION } from "../protocol/version.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { firstModel } from "./known-model.ts";
import type { Route } from "./routes.ts";
import { answeredWhole } from "./start-generation.ts";

/** No model computes anything for them: they count as requests only. */
const NO_TOKENS = { numTokens: 0, usedBy: () => 0 };

export function tokenizeRoutes(options: ApiOptions): Route[] {
  const { models } = options;
  const named = async <T extends { model: string | null }>(context: ApiContext, request: T) => ({
    ...request,
    model: request.model ?? (await firstModel(models, context.get("caller"))).id,
  });

  const tokenize: ApiHandler = async (context) => {
    const { request, isTgi } = decodeTokenize(await readJsonBody(context.req.raw), context.get("requestId"));
    const asked = await named(context, request);
    const tokenized = await answeredWhole(context, options, {
      ...{ model: asked.model, ...NO_TOKENS },
      answer: () => models.tokenize(asked, context.req.raw.signal),
    });
    const { prompt } = request;
    return Response.json(isTgi && prompt.kind === "text" ? tgiTokens(tokenized, prompt.text) : tokenizeBody(tokenized));
  };

  const detokenize: ApiHandler = async (context) => {
    const request = decodeDetokenize(await readJsonBody(context.req.raw), context.get("requestId"));
    const asked = await named(context, request);
    const text = await answeredWhole(context, options, {
      ...{ model: asked.model, ...NO_TOKENS },
      answer: () => models.detokenize(asked, context.req.raw.signal),
    });
    return Response.json(detokenizeBody(text));
  };

  return [
    { path: "/tokenize", methods: { POST: tokenize } },
    { path: "/detokenize", methods: { POST: detokenize } },
    { path: "/version", methods: { GET: () => Response.json({ version: VERSION }) } },
  ];
}
