/** The picker's groups: who runs a model, where that is not the same for all. */
import { expect, test } from "vitest";
import { groupModels } from "../../../src/page/chat/model-groups.ts";

const model = (id: string, owner: string | null) => ({ id, owner, description: null, contextLength: null });

test("models of one owner need no groups", () => {
  expect(groupModels([])).toEqual([]);
  expect(groupModels([model("a", "runnel"), model("b", null)])).toEqual([]);
});

test("models of the edge and of origins are told apart, in the order of the list", () => {
  const models = [model("a", "runnel"), model("big", "gpu-1, gpu-2"), model("b", "runnel"), model("large", "gpu-1")];
  expect(groupModels(models)).toEqual([
    { label: "On the edge", ids: ["a", "b"] },
    { label: "At gpu-1, gpu-2", ids: ["big"] },
    { label: "At gpu-1", ids: ["large"] },
  ]);
});
