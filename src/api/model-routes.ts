/** GET /v1/models and /v1/models/{id}. Ids may hold slashes ("org/name"), so the id is the rest of the path. */
import { modelBody, modelListBody } from "../protocol/openai/models.ts";
import type { ApiOptions } from "./context.ts";
import { knownModel } from "./known-model.ts";
import { PLAIN_NAMES } from "./model-names.ts";
import type { Route } from "./routes.ts";

export function modelRoutes({ models, names = PLAIN_NAMES }: ApiOptions): Route[] {
  return [
    { path: "/v1/models", methods: { GET: async () => Response.json(modelListBody(await models.models())) } },
    {
      path: "/v1/models/:id{.+}",
      methods: {
        GET: async (context) => {
          const asked = context.req.param("id") ?? "";
          const model = await names.run(asked, models, (id) => knownModel(models, id));
          return Response.json(modelBody(model));
        },
      },
    },
  ];
}
