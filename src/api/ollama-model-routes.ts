/**
 * Ollama's routes about models: what there is and what is loaded. Its writes are answered with 501: models come here by
 * `npm run model -- add`, or on the origin's command line.
 */
import { notImplemented } from "../protocol/errors.ts";
import { decodeShow, runningBody, showBody, tagsBody } from "../protocol/ollama/models.ts";
import { OLLAMA_VERSION } from "../protocol/ollama/version.ts";
import { assertMayUse, mayUse } from "./caller.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { knownModel } from "./known-model.ts";
import { PLAIN_NAMES } from "./model-names.ts";
import type { Route } from "./routes.ts";

export function ollamaModelRoutes({ models, names = PLAIN_NAMES }: ApiOptions): Route[] {
  const usable = async (context: ApiContext) => {
    const caller = context.get("caller");
    return (await models.models()).filter(({ id }) => mayUse(caller, id));
  };
  return [
    { path: "/api/tags", methods: { GET: async (context) => Response.json(tagsBody(await usable(context))) } },
    { path: "/api/ps", methods: { GET: async (context) => Response.json(runningBody(await usable(context))) } },
    {
      path: "/api/show",
      methods: {
        POST: async (context) => {
          const asked = decodeShow(await readJsonBody(context.req.raw));
          assertMayUse(context.get("caller"), asked);
          return Response.json(showBody(await names.run(asked, models, (id) => knownModel(models, id))));
        },
      },
    },
    { path: "/api/version", methods: { GET: () => Response.json({ version: OLLAMA_VERSION }) } },
    ...["/api/pull", "/api/push", "/api/create", "/api/copy"].map((path) => ({ path, methods: { POST: refuseWrite } })),
    { path: "/api/delete", methods: { DELETE: refuseWrite } },
    // Ollama's HEAD asks whether a blob is there: it is not, which the unknown path says.
    { path: "/api/blobs/:digest", methods: { POST: refuseWrite } },
  ];
}

const refuseWrite: ApiHandler = (context: ApiContext) => {
  throw notImplemented(
    `${context.req.path} is not supported: models are not managed over this API. Use \`npm run model -- add\` and ` +
      "`remove`, or the origin's --model.",
  );
};
