/**
 * zod, set so that it never compiles code: workerd forbids `eval` and `new Function`. Schemas import it from here only.
 */
import * as z from "zod";

z.config({ jitless: true });

export { z };
