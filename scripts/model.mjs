/** `npm run model`: adds, lists and removes models. The command itself is `model/cli.ts`. */
import { runTypescript } from "./typescript-command.mjs";

await runTypescript("model", () => import("./model/cli.ts"));
