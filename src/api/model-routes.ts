/** GET /v1/models and /v1/models/{id}. Ids may hold slashes ("org/name"), so the id is the rest of the path. */
import { modelNotFound } from "../protocol/errors.ts";
import { modelBody, modelListBody } from "../protocol/openai/models.ts";
import { assertMayUse, mayUse } from "./caller.ts";
import type { ApiOptions } from "./context.ts";
import type { Route } from "./routes.ts";

export function modelRoutes({ models }: ApiOptions): Route[] {
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
          const id = context.req.param("id") ?? "";
          assertMayUse(context.get("caller"), id);
          const known = await models.models();
          const model = known.find((one) => one.id === id);
          if (model === undefined) {
            throw modelNotFound(
              id,
              known.map((one) => one.id),
            );
          }
          return Response.json(modelBody(model));
        },
      },
    },
  ];
}
