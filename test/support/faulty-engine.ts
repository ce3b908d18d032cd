/** An engine process, the real one, with two faults for requests that ask for them by their id. */
import { GpuDevice } from "../../src/backends/gpu/device.ts";
import type { ToEngine } from "../../src/origin/messages.ts";
import { DEVICE_LOSING_REQUEST, FATAL_REQUEST } from "./engine-faults.ts";

const SUBMISSIONS_BEFORE_LOSS = 10;

let numSubmissionsLeft = Number.POSITIVE_INFINITY;
const { submit } = GpuDevice.prototype;
GpuDevice.prototype.submit = function (dispatches) {
  submit.call(this, dispatches);
  if (--numSubmissionsLeft === 0) this.destroy();
};

process.on("message", (message: ToEngine) => {
  if (message.type !== "generate") return;
  const { request, generatedTokens } = message;
  if (request.requestId === FATAL_REQUEST) process.kill(process.pid, "SIGKILL");
  const isBegun = generatedTokens.length > 0;
  if (request.requestId === DEVICE_LOSING_REQUEST && !isBegun) numSubmissionsLeft = SUBMISSIONS_BEFORE_LOSS;
});

await import("../../src/origin/engine-process.ts");
