/** Argument lists of `wrangler r2 object` for the deployed bucket. */
import { BUCKET_NAME } from "./model-store.ts";

export function putArgs(key: string, path: string, contentType: string): string[] {
  return [...objectArgs("put", key), "--file", path, "--content-type", contentType, "--remote"];
}

/** Prints the object to stdout. */
export function getArgs(key: string): string[] {
  return [...objectArgs("get", key), "--pipe", "--remote"];
}

export function deleteArgs(key: string): string[] {
  return [...objectArgs("delete", key), "--remote"];
}

function objectArgs(command: string, key: string): string[] {
  return ["r2", "object", command, `${BUCKET_NAME}/${key}`];
}
