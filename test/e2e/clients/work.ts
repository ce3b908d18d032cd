/** What the engine is doing, as `/ready` tells it: whether an answer that nobody reads any more still runs. */
export async function numOpenAnswers(serverUrl: string): Promise<number> {
  const { stats } = (await (await fetch(`${serverUrl}/ready`)).json()) as { stats: Record<string, number> };
  return stats.numRunning! + stats.numWaiting!;
}
