/** What the isolate really holds, asked of V8 through the debugger's port: the local runtime enforces no limit itself. */

export interface HeapUsage {
  /** Live and not yet collected JS objects. */
  usedSize: number;
  /** Pages V8 took for them. */
  totalSize: number;
  /** Objects of the runtime behind them. */
  embedderHeapUsedSize: number;
  /** ArrayBuffers and WebAssembly memory. */
  backingStorageSize: number;
}

const TIMEOUT_MS = 10_000;

export async function heapUsage(inspectorPort: number): Promise<HeapUsage> {
  const targets = (await (await fetch(`http://127.0.0.1:${inspectorPort}/json`)).json()) as {
    webSocketDebuggerUrl: string;
  }[];
  // The proxy in front of the debugger refuses a socket without these two.
  const headers = { Origin: "http://localhost", "User-Agent": "test" };
  const socket = new WebSocket(targets[0]!.webSocketDebuggerUrl, { headers } as unknown as string[]);
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the debugger does not answer")), TIMEOUT_MS);
      socket.addEventListener("open", () => socket.send(JSON.stringify({ id: 1, method: "Runtime.getHeapUsage" })));
      socket.addEventListener("error", () => reject(new Error("the debugger refused the connection")));
      socket.addEventListener("message", ({ data }) => {
        const message = JSON.parse(String(data)) as { id?: number; result: HeapUsage };
        if (message.id !== 1) return;
        clearTimeout(timer);
        resolve(message.result);
      });
    });
  } finally {
    socket.close();
  }
}
