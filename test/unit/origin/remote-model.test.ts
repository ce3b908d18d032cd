/** A model behind the border between processes, with an engine over the hash model on the other side. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { ModelMeter } from "../../../src/origin/meters.ts";
import { createMetrics } from "../../../src/origin/metrics.ts";
import { OriginModels } from "../../../src/origin/origin-models.ts";
import { RemoteModel } from "../../../src/origin/remote-model.ts";
import { readAll, request, textOf, world } from "../serving/world.ts";
import { CONFIG, scripted } from "./engines.ts";
import { all, DRAWN_SEED, LIMITS, started } from "./live-model.ts";

const textAt = (i: number) => ({ kind: "text" as const, text: "hello world".slice(i) });

test("sixteen at once say what each says alone", async () => {
  const { model, stop } = await started({ numRunningMax: 4, numWaitingMax: 12 });
  const asked = Array.from({ length: 16 }, (_, i) => request({ prompts: [textAt(i % 10)], maxTokens: 5 + i }));
  const answers = await Promise.all(asked.map(async (one) => textOf(await all(await model.generate(one)))));
  expect(answers).toEqual(asked.map((one) => textOf(readAll(world().model.generate(one)))));
  expect(model.numOpen).toBe(0);
  stop();
});

describe("refusals", () => {
  test("of the model come as they are, and a full queue is a 429", async () => {
    const { model, value, stop } = await started({ numRunningMax: 1, numWaitingMax: 1 });
    const refused = model.generate(request({ maxTokens: 1000 }));
    await expect(refused).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
    const taken = [await model.generate(request({ maxTokens: 60 })), await model.generate(request())];
    await expect(model.generate(request())).rejects.toMatchObject({
      status: 429,
      code: "server_overloaded",
      retryAfterS: 1,
    });
    await Promise.all(taken.map(all));
    expect(await value("runnel_requests_refused_total")).toBe(2);
    stop();
  });

  test("while there is no engine are a 503 that says when to come back", async () => {
    const { model, lives, stop } = await started({}, { pauseMs: 30_000 });
    lives[0]!.kill();
    await expect.poll(() => model.supervisor.phase).toBe("paused");
    await expect(model.generate(request())).rejects.toMatchObject({ status: 503, retryAfterS: 32 });
    stop();
  });
});

test("a reader that takes nothing is told to, and costs no more than its limit", async () => {
  const { model, lives, value, stop } = await started({}, { unreadBytesMax: 5000 });
  const stream = await model.generate(request({ maxTokens: 200 }));
  await expect.poll(() => model.numOpen).toBe(0);
  await expect(all(stream)).rejects.toMatchObject({ status: 429, code: "reader_too_slow" });
  await expect.poll(() => lives[0]!.here.model.stats.numRunning).toBe(0);
  expect(lives[0]!.here.model.stats.numSteps).toBeLessThan(100);
  expect(await value("runnel_requests_failed_total")).toBe(1);
  stop();
});

test("an abort frees an answer's blocks within two steps, and the others go on", async () => {
  const { model, lives, value, stop } = await started();
  const { here } = lives[0]!;
  const [leaving, staying] = await Promise.all([1, 2].map(() => model.generate(request({ maxTokens: 100 }))));
  for (const stream of [leaving!, staying!]) expect((await stream.next())?.type).toBe("start");
  const numStepsAtCancel = here.model.stats.numSteps;
  let numStepsAtRelease: number | null = null;
  const { onStep } = here.backend;
  here.backend.onStep = (batch) => {
    onStep?.(batch);
    if (here.model.stats.numRunning === 1) numStepsAtRelease ??= here.model.stats.numSteps;
  };
  leaving!.cancel();
  expect(await leaving!.next()).toBeNull();
  const events = await all(staying!);
  expect(events.at(-1)).toMatchObject({ type: "done", usage: { completionTokens: 100 } });
  expect(numStepsAtRelease! - numStepsAtCancel).toBeLessThanOrEqual(2);
  expect(here.model.stats.numFreeBlocks).toBe(here.model.stats.numBlocks);
  expect(await value("vllm:request_success_total")).toBe(2);
  stop();
});

test("a model that is still loading is not listed, and says when to come back", async () => {
  const model = new RemoteModel({
    config: CONFIG,
    spawn: scripted().spawn,
    clock: systemClock,
    limits: LIMITS,
    drawSeed: () => DRAWN_SEED,
    meter: new ModelMeter(createMetrics(), "tiny", () => 0),
    log: () => {},
  });
  void model.supervisor.start();
  const service = new OriginModels([model]);
  expect(await service.models()).toEqual([]);
  expect(await service.ready()).toMatchObject({
    ready: false,
    detail: { models: [{ id: "tiny", state: "starting" }] },
  });
  await expect(service.generate(request())).rejects.toMatchObject({ status: 503, retryAfterS: 1 });
  await service.stop();
});

describe("the end of service", () => {
  test("lets nobody in, and running answers end", async () => {
    const { model, stop } = await started();
    const service = new OriginModels([model]);
    const answer = all(await service.generate(request({ maxTokens: 50 })));
    const drained = service.drain(60_000);
    await expect(service.generate(request())).rejects.toMatchObject({ status: 503, retryAfterS: 5 });
    expect(await service.ready()).toMatchObject({ ready: false, detail: { draining: true } });
    await drained;
    expect((await answer).at(-1)).toMatchObject({ type: "done", usage: { completionTokens: 50 } });
    stop();
  });

  test("comes for answers that take too long, with an error", async () => {
    const { model, lives, stop } = await started();
    const service = new OriginModels([model]);
    const answer = all(await service.generate(request({ maxTokens: 200 })));
    await service.drain(0);
    await expect(answer).rejects.toMatchObject({ status: 503, code: "model_unavailable" });
    await expect.poll(() => lives[0]!.here.model.stats.numRunning).toBe(0);
    stop();
  });

  test("and unknown models are a 404", async () => {
    const { model, stop } = await started();
    const asked = new OriginModels([model]).generate(request({ model: "other" }));
    await expect(asked).rejects.toMatchObject({ status: 404, message: expect.stringContaining("Models: tiny.") });
    stop();
  });
});
