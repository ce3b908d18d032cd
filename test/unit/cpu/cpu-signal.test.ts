/** The two words by which the runtime and the module talk about CPU time, in every build. */
import { describe, expect, test } from "vitest";
import { CpuSignal } from "../../../src/backends/cpu/cpu-signal.ts";
import { instantiateKernels, MODULE_BYTES } from "../../../src/backends/cpu/exports.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

describe.each(KERNEL_SETS)("%s", (set) => {
  const exports = instantiateKernels(kernelModules([set])[set]!);
  const addresses = [exports.__instance_signal.value as number, exports.__instance_terminated.value as number];
  const words = new Uint32Array(exports.memory.buffer);
  const [signal, terminated] = addresses.map((address) => address / 4) as [number, number];

  test("both are words of the module's own memory, as a runtime looks for them", () => {
    for (const address of addresses) {
      expect(address % 4).toBe(0);
      expect(address).toBeGreaterThan(0);
      expect(address + 4).toBeLessThanOrEqual(Math.min(exports.heap_base(), MODULE_BYTES));
    }
    // Node's V8 knows nothing of it, so what the module was built with is there.
    expect([words[signal], words[terminated]]).toEqual([0xffff, 0]);
  });

  test("a warning is heard once, and nothing else is taken for one", () => {
    const heard = new CpuSignal(exports);
    expect(heard.take()).toBe(false);
    words[signal] = 0;
    expect(heard.take()).toBe(false);
    words[signal] = 24;
    expect([heard.take(), heard.take()]).toEqual([true, false]);
    expect(words[terminated]).toBe(0);
    heard.close();
    expect(words[terminated]).toBe(1);
  });
});
