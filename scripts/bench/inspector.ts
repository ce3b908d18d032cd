/** What an isolate really holds, asked of V8 through the debugger's port: the local runtime enforces no limit itself. */

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

const TIMEOUT_MS = 30_000;

/** One connection to the first isolate behind a debugger's port. */
export class Inspector {
  readonly #socket: WebSocket;
  #numCalls = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async connect(port: number): Promise<Inspector> {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    // The proxy in front of the debugger refuses a socket without these two.
    const headers = { Origin: "http://localhost", "User-Agent": "test" };
    const socket = new WebSocket(targets[0]!.webSocketDebuggerUrl, { headers } as unknown as string[]);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", () => reject(new Error("The debugger refused the connection.")));
    });
    return new Inspector(socket);
  }

  heapUsage(): Promise<HeapUsage> {
    return this.#call("Runtime.getHeapUsage") as Promise<HeapUsage>;
  }

  /**
   * A full collection: what is used afterwards is live.
   * @param wake sends the Worker a request: workerd 2026-11-17 collects only once the isolate has something to do
   */
  async collectGarbage(wake: () => Promise<void>): Promise<void> {
    const collected = this.#call("HeapProfiler.collectGarbage");
    await Promise.all([collected, wake()]);
  }

  close(): void {
    this.#socket.close();
  }

  #call(method: string): Promise<unknown> {
    const id = ++this.#numCalls;
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.#socket.removeEventListener("message", receive);
        end();
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`The debugger does not answer ${method} within ${TIMEOUT_MS} ms.`))),
        TIMEOUT_MS,
      );
      const receive = ({ data }: MessageEvent) => {
        const message = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: { message: string } };
        if (message.id !== id) return;
        const { error, result } = message;
        settle(() => (error === undefined ? resolve(result) : reject(new Error(`${method}: ${error.message}`))));
      };
      this.#socket.addEventListener("message", receive);
      this.#socket.send(JSON.stringify({ id, method }));
    });
  }
}

export async function heapUsage(port: number): Promise<HeapUsage> {
  const inspector = await Inspector.connect(port);
  try {
    return await inspector.heapUsage();
  } finally {
    inspector.close();
  }
}
