/** Service levels of a request: it is good when it completed and none of its times is above its bound. */
import { UsageError } from "../../model/errors.ts";

export const SLO_NAMES = ["ttft", "tpot", "e2el"] as const;

/** Bounds in milliseconds. */
export type ServiceLevels = Partial<Record<(typeof SLO_NAMES)[number], number>>;

/** "ttft:500,tpot:50" @throws UsageError */
export function parseGoodput(text: string): ServiceLevels {
  const levels: ServiceLevels = {};
  for (const part of text.split(",")) {
    const [name = "", value = ""] = part.split(":");
    const known = SLO_NAMES.find((one) => one === name.trim());
    const bound = Number(value);
    if (known === undefined || value.trim() === "" || !Number.isFinite(bound) || bound <= 0) {
      throw new UsageError(
        `--goodput has '${part}'; each part must be NAME:MILLISECONDS above 0, NAME one of ${SLO_NAMES.join(", ")}.`,
      );
    }
    levels[known] = bound;
  }
  return levels;
}
