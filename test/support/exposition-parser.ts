/** Reads Prometheus's text format (0.0.4) by its grammar, and refuses what is not of it. */

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Exposition {
  types: Record<string, string>;
  samples: Sample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;

export function parseExposition(text: string): Exposition {
  if (!text.endsWith("\n")) throw new Error("The last line does not end.");
  const exposition: Exposition = { types: {}, samples: [] };
  for (const line of text.slice(0, -1).split("\n")) {
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`).exec(line);
    if (type !== null) {
      if (type[1]! in exposition.types) throw new Error(`${type[1]} is described twice.`);
      exposition.types[type[1]!] = type[2]!;
    } else if (!new RegExp(`^# HELP ${NAME} .*$`).test(line)) exposition.samples.push(sampleOf(line));
  }
  return exposition;
}

function sampleOf(line: string): Sample {
  const match = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`, "s").exec(line);
  if (match === null) throw new Error(`No sample: ${line}`);
  const [, name, labels = "", value] = match;
  return { name: name!, labels: labelsOf(labels), value: Number(value!.replace("Inf", "Infinity")) };
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== "") {
    const match = LABEL.exec(rest);
    if (match === null) throw new Error(`No label: ${rest}`);
    labels[match[1]!] = match[2]!.replace(/\\(.)/gs, (_, char: string) => (char === "n" ? "\n" : char));
    rest = rest.slice(match[0].length);
  }
  return labels;
}
