/** Garbage collection between submissions and readbacks: what of Dawn's objects is collected too early aborts the process. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { withDevice } from "./device-sections.ts";
import type { Section } from "./section.ts";

const ROUNDS = { gpu: 200, software: 10 };

export const STABILITY: Section = {
  name: "stability",
  budgetS: { gpu: 20, software: 5 },
  run: ({ software, report, hasTime }) =>
    withDevice(software, async (device) => {
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc") as () => void;
      const rounds = software ? ROUNDS.software : ROUNDS.gpu;
      let numSurvived = 0;
      while (numSurvived < rounds && hasTime()) {
        const buffer = device.bufferOf("round", Uint32Array.of(numSurvived));
        collect();
        const [value] = new Uint32Array(await device.download(buffer, 4));
        if (value !== numSurvived) throw new Error(`Read back ${value} where ${numSurvived} was written.`);
        buffer.destroy();
        collect();
        numSurvived++;
      }
      report("collections", 2 * numSurvived);
    }),
};
