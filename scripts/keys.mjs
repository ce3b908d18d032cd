/** `npm run keys`: makes, lists and takes back API keys. The command itself is `keys/cli.ts`. */
import { runTypescript } from "./typescript-command.mjs";

await runTypescript("keys", () => import("./keys/cli.ts"));
