/** `docs/benchmarks/index.html`: all charts on one static page, without a script or anything from elsewhere. */
import { barChart, escapeHtml } from "./bar-chart.ts";
import { chartsOf } from "./benchmark-charts.ts";
import type { Results } from "./results.ts";

const HEADINGS: Record<Results["kind"], { title: string; command: string }> = {
  peers: { title: "Against its peers", command: "npm run bench:peers" },
  engine: { title: "The engine in Node and in workerd", command: "npm run bench" },
  kernels: { title: "The kernels against their ceilings", command: "npm run bench:kernels" },
  memory: { title: "Memory of an isolate", command: "npm run bench:memory" },
  server: { title: "Over HTTP", command: "npm run bench:server" },
  sessions: { title: "Sessions", command: "npm run bench:sessions" },
  gpu: { title: "The GPU engine", command: "npm run bench:gpu" },
  origin: { title: "A server under load", command: "npm run bench:origin" },
};

/** Checked for contrast with text and background in both schemes, and apart for people who see fewer colours. */
const STYLE = `
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6470; --line: #d9dde2; --back: #ffffff;
  --s0: #0b62d6; --s1: #c4540a; --s2: #2b8a57; --s3: #8a4fc4; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ed; --soft: #9aa4b0; --line: #333a43; --back: #14171b;
  --s0: #6ba6ff; --s1: #f0935a; --s2: #6cc796; --s3: #c09af0; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 800px;
  margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1.5rem 0 2.5rem; } figcaption { font-weight: 600; } small { color: var(--soft); font-weight: 400; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--text); dominant-baseline: central; } svg .label, svg .limit-label { text-anchor: end; }
svg .tick { text-anchor: middle; fill: var(--soft); } svg .grid { stroke: var(--line); fill: none; }
svg .whisker { stroke: var(--text); stroke-width: 1.5; } svg .limit { stroke: var(--text); stroke-dasharray: 4 3; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.k0 { background: var(--s0); } .k1 { background: var(--s1); } .k2 { background: var(--s2); } .k3 { background: var(--s3); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; padding: 0; margin: 0.25rem 0; }
.key { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em; }
table { border-collapse: collapse; margin: 0.5rem 0; font-size: 0.875rem; display: block; overflow-x: auto; }
th, td { padding: 0.2rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); } th:first-child { text-align: left; }
code { font-size: 0.9em; }`;

export function benchmarkPage(results: readonly Results[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>runnel: benchmarks</title>
<style>${STYLE}
</style>
<h1>Benchmarks</h1>
<p>Medians; whiskers are quartiles. Every section names the machine it was measured on and the command that repeats it;
every sample lies in the JSON file beside this page. <code>npm run bench:plots</code> makes this page from them.</p>
${results.map(section).join("\n")}
</html>
`;
}

function section(results: Results): string {
  const { title, command } = HEADINGS[results.kind];
  const charts = chartsOf(results).map((chart, i) => barChart(chart, `${results.kind}-${i}`));
  return `<h2>${title}</h2>
<p>${escapeHtml(machineLine(results))} <code>${command}</code>, <a href="${results.kind}.json">samples</a>.</p>
${charts.join("\n")}`;
}

/** "AMD EPYC (avx2 …), 2 cores; Node 24.21.0, workerd 1.2026…, 2026-11-22." */
export function machineLine({ machine, takenAt }: Results): string {
  const flags = machine.cpuFlags.length === 0 ? "" : ` (${machine.cpuFlags.join(" ")})`;
  return (
    `${machine.cpu}${flags}, ${machine.cores} cores; Node ${machine.node}, workerd ${machine.workerd}; ` +
    `${takenAt.slice(0, 10)}.`
  );
}
