/** The process of one section: gets its order as an argument, tells its parent what it finds, exits 1 where it failed. */
import { CommandError } from "../../model/errors.ts";
import type { SectionMessage, SectionOrder } from "./section.ts";
import { SECTIONS } from "./sections.ts";

const order = JSON.parse(process.argv[2] ?? "{}") as SectionOrder;
const section = SECTIONS.find(({ name }) => name === order.name);
if (section === undefined) throw new Error(`There is no section '${order.name}'.`);
// Whose parent is gone measures for nobody, and keeps the GPU from others: it ends with all that it started.
let isOver = false;
process.once("disconnect", () => {
  if (!isOver) process.kill(-process.pid, "SIGKILL");
});
const deadlineMs = performance.now() + 1000 * order.budgetS;
const send = (message: SectionMessage) => void process.send!(message);
try {
  await section.run({
    ...order,
    report: (name, value) => send({ type: "value", name, value }),
    say: (text) => send({ type: "say", text }),
    hasTime: () => performance.now() < deadlineMs,
  });
} catch (error) {
  const { message, cause } = error as Error;
  // What cannot be done here is no fault.
  const type = error instanceof CommandError ? "skipped" : "failed";
  send({ type, message: cause === undefined ? message : `${message} (${String(cause)})` });
  process.exitCode = 1;
}
isOver = true;
process.disconnect();
