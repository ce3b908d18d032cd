/** POST /v1/embeddings, and Ollama's /api/embed and /api/embeddings: the same vectors in three shapes. */
import type { EmbedRequest } from "../protocol/embed.ts";
import {
  decodeOllamaEmbed,
  decodeOllamaEmbeddings,
  ollamaEmbeddingsBody,
  ollamaEmbedPieces,
} from "../protocol/ollama/embed.ts";
import { decodeEmbeddings, embeddingsPieces } from "../protocol/openai/embeddings.ts";
import { promptsEstimate } from "../protocol/token-estimate.ts";
import { tenantSalt } from "./caller.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { piecesResponse } from "./pieces-response.ts";
import type { Route } from "./routes.ts";
import { routingKeyOf } from "./routing-key.ts";
import { answeredWhole } from "./start-generation.ts";

export function embeddingRoutes(options: ApiOptions): Route[] {
  const embed = (context: ApiContext, request: EmbedRequest) =>
    answeredWhole(context, options, {
      model: request.model,
      numTokens: promptsEstimate(request.prompts),
      answer: () => {
        const salted = { ...request, cacheSalt: tenantSalt(context.get("caller"), request.cacheSalt) };
        return options.models.embed(salted, routingKeyOf(request), context.req.raw.signal);
      },
      usedBy: ({ promptTokens }) => promptTokens,
    });

  const openai: ApiHandler = async (context) => {
    const asked = decodeEmbeddings(await readJsonBody(context.req.raw), context.get("requestId"));
    return piecesResponse(embeddingsPieces(await embed(context, asked.embed), asked.format));
  };

  const ollama: ApiHandler = async (context) => {
    const startedAtMs = options.clock.nowMs();
    const request = decodeOllamaEmbed(await readJsonBody(context.req.raw), context.get("requestId"));
    const embeddings = await embed(context, request);
    return piecesResponse(ollamaEmbedPieces(embeddings, request.model, options.clock.nowMs() - startedAtMs));
  };

  const older: ApiHandler = async (context) => {
    const request = decodeOllamaEmbeddings(await readJsonBody(context.req.raw), context.get("requestId"));
    return Response.json(ollamaEmbeddingsBody(await embed(context, request)));
  };

  return [
    { path: "/v1/embeddings", methods: { POST: openai } },
    { path: "/api/embed", methods: { POST: ollama } },
    { path: "/api/embeddings", methods: { POST: older } },
  ];
}
