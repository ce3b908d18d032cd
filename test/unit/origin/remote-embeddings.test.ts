/** Vectors and token ids across the border between processes. */
import { expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { ModelMeter } from "../../../src/origin/meters.ts";
import { createMetrics } from "../../../src/origin/metrics.ts";
import { OriginModels } from "../../../src/origin/origin-models.ts";
import { RECOVERY_LIMITS } from "../../../src/origin/recovery.ts";
import { RemoteModel } from "../../../src/origin/remote-model.ts";
import { SUPERVISOR_LIMITS } from "../../../src/origin/supervisor.ts";
import type { EmbedRequest } from "../../../src/protocol/embed.ts";
import { readAll, request, textOf, world } from "../serving/world.ts";
import { CONFIG, LiveEngine } from "./engines.ts";

async function started() {
  const lives: LiveEngine[] = [];
  const model = new RemoteModel({
    config: CONFIG,
    spawn: (listener) => {
      lives.push(new LiveEngine(listener));
      return lives.at(-1)!;
    },
    clock: systemClock,
    drawSeed: () => 1,
    limits: { ...SUPERVISOR_LIMITS, ...RECOVERY_LIMITS, pauseMs: 5 },
    meter: new ModelMeter(createMetrics(), "tiny", () => performance.now()),
    log: () => {},
  });
  await model.supervisor.start();
  return { model, models: new OriginModels([model]), lives, stop: () => model.supervisor.stop() };
}

function asked(texts: string[], changes: Partial<EmbedRequest> = {}): EmbedRequest {
  const prompts = texts.map((text) => ({ kind: "text" as const, text }));
  return { requestId: "r", model: "tiny", prompts, dimensions: null, truncate: false, cacheSalt: "", ...changes };
}

const TEXTS = Array.from({ length: 11 }, (_, i) => "hello world".slice(i));

test("vectors are those of the model itself, also beside an answer", async () => {
  const { model, models, stop } = await started();
  const local = world().model.embed(asked(TEXTS));
  while (!local.hasEnded) local.step();
  const [vectors, stream] = await Promise.all([models.embed(asked(TEXTS), null), model.generate(request())]);
  expect(vectors).toEqual(local.result());
  const events = [];
  for (let event = await stream.next(); event !== null; event = await stream.next()) events.push(event);
  expect(textOf(events)).toBe(textOf(readAll(world().model.generate(request()))));
  await stop();
});

test("token ids go both ways", async () => {
  const { models, stop } = await started();
  const prompt = { kind: "text" as const, text: "ab" };
  const common = { requestId: "r", model: "tiny" };
  const made = await models.tokenize({ ...common, prompt, addSpecialTokens: true, wantsTexts: true });
  expect(made.texts).toEqual(["<bos>", "a", "b"]);
  expect(await models.detokenize({ ...common, tokens: made.tokens })).toEqual({ model: "tiny", text: "<bos>ab" });
  await stop();
});

test("refusals come as they are; an engine that is lost fails what was asked; who leaves frees its place", async () => {
  const { model, models, lives, stop } = await started();
  const tooLong = asked(["hello ".repeat(200)]);
  await expect(models.embed(tooLong, null)).rejects.toMatchObject({ status: 400, param: "input" });
  await expect(models.embed(asked(["a"], { model: "nope" }), null)).rejects.toMatchObject({ status: 404 });
  const leaving = new AbortController();
  const left = models.embed(asked(TEXTS), null, leaving.signal);
  leaving.abort();
  await expect(left).rejects.toMatchObject({ status: 499 });
  const lost = model.embed(asked(TEXTS));
  lives[0]!.kill();
  await expect(lost).rejects.toMatchObject({ status: 503 });
  expect(lives[0]!.here.model.stats.numRunning).toBe(0);
  await stop();
});
