/** The small parts that a host brings in production. */
import { expect, test, vi } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { causeText, consoleLog } from "../../../src/api/log.ts";
import { randomHexId } from "../../../src/api/random-id.ts";
import { isOwnerId, isSessionId } from "../../../src/protocol/sessions.ts";

test("random ids are 128 bits of hex, good for sessions and owners, and differ", () => {
  const ids = Array.from({ length: 100 }, randomHexId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(ids.every((id) => isSessionId(id) && isOwnerId(id))).toBe(true);
  expect(new Set(ids).size).toBe(100);
});

test("the system's clock calls back once, or not at all when told so", async () => {
  const calls: string[] = [];
  const stop = systemClock.after(5, () => calls.push("stopped"));
  systemClock.after(10, () => calls.push("kept"));
  stop();
  await expect.poll(() => calls).toEqual(["kept"]);
  expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(1000);
});

test("a log record is one line of JSON, errors apart", () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const error = vi.spyOn(console, "error").mockImplementation(() => {});
  const cause = causeText(new Error("outer\nline", { cause: "inner" }));
  consoleLog({ level: "error", event: "internal_error", requestId: "r", route: "/x", cause });
  const request = { requestId: "r", method: "GET", route: "/x", status: 200, durationMs: 1 };
  consoleLog({ level: "info", event: "request", ...request });
  const [line] = error.mock.calls[0] as [string];
  expect(line).not.toContain("\n");
  expect(JSON.parse(line).cause).toMatch(/outer[\s\S]*Caused by: inner/);
  expect(JSON.parse(log.mock.calls[0]![0] as string)).toEqual({ level: "info", event: "request", ...request });
  vi.restoreAllMocks();
});
