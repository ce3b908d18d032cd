/** Routes as data: a path with a handler for each method. From that follow HEAD, 405 and the Allow header. */
import type { Hono } from "hono";
import { methodNotAllowed } from "../protocol/errors.ts";
import type { ApiEnv, ApiHandler } from "./context.ts";
import { errorResponse } from "./error-response.ts";

type Method = "GET" | "POST" | "PUT" | "DELETE";

export interface Route {
  path: string;
  methods: Partial<Record<Method, ApiHandler>>;
}

/** Hono answers HEAD by GET's handler without its body. */
export function addRoute(app: Hono<ApiEnv>, { path, methods }: Route): void {
  const allowed = Object.keys(methods).flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  app.all(path, (context, next) => {
    context.set("route", path);
    return next();
  });
  for (const [method, handler] of Object.entries(methods)) app.on(method, path, handler);
  app.all(path, (context) => {
    const { method, path: requested } = context.req;
    return errorResponse(methodNotAllowed(method, requested, allowed), requested, { allow: allowed.join(", ") });
  });
}
