/** GET /v1/models and /v1/models/{id}. Ids may hold slashes ("org/name"), so the id is the rest of the path. */
import { modelBody, modelListBody } from "../protocol/openai/models.ts";
import { assertMayUse, mayUse } from "./caller.ts";
import type { ApiOptions } from "./context.ts";
import { knownModel } from "./known-model.ts";
import { PLAIN_NAMES } from "./model-names.ts";
import type { Route } from "./routes.ts";

export function modelRoutes({ models, names = PLAIN_NAMES }: ApiOptions): Route[] {
  return [
    {
      path: "/v1/models",
      methods: {
        GET: async (context) => {
          const caller = context.get("caller");
          return Response.json(modelListBody((await models.models()).filter(({ id }) => mayUse(caller, id))));
        },
      },
    },
    {
      path: "/v1/models/:id{.+}",
      methods: {
        GET: async (context) => {
          const asked = context.req.param("id") ?? "";
          assertMayUse(context.get("caller"), asked);
          const model = await names.run(asked, models, (id) => knownModel(models, id));
          return Response.json(modelBody(model));
        },
      },
    },
  ];
}
