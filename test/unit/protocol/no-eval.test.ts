import { expect, test, vi } from "vitest";

test("no schema compiles code, which workerd forbids", async () => {
  vi.resetModules();
  const compile = vi.fn(() => {
    throw new EvalError("Code generation from strings disallowed for this context");
  });
  vi.stubGlobal("Function", compile);
  try {
    const { decodeChatRequest } = await import("../../../src/protocol/openai/chat-request.ts");
    const { decodeSessionMessage } = await import("../../../src/protocol/sessions.ts");
    decodeChatRequest({ model: "m", messages: [{ role: "user", content: "hi" }], stop: ["a"] }, "r");
    decodeSessionMessage({ content: "hi" }, "r");
  } finally {
    vi.unstubAllGlobals();
  }
  expect(compile).not.toHaveBeenCalled();
});
