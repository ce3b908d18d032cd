/**
 * Renders reference conversations: `node scripts/verify-templates.ts --fixtures DIR`. DIR/templates/expected.json holds
 * `cases` (messages and variables) and, for each DIR/templates/X.jinja and case, the text that Jinja2 gives or the fact
 * that the template refuses. Prints a table and every difference; exit status 1 if there is one.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ApiError } from "../src/protocol/errors.ts";
import { JinjaChatTemplate } from "../src/text/chat-template.ts";
import { verifyValues } from "./verify-values.ts";

const HELP = `Usage: node scripts/verify-templates.ts --fixtures DIR

Renders reference conversations and compares them with what Jinja2 gives.

  --fixtures DIR  has templates/expected.json and templates/X.jinja
  --help          this text

Exit codes: 0 everything is within its bounds, 1 something is not, 2 called wrongly.`;

interface Conversation {
  name: string;
  messages: { role: string; content: string }[];
  add_generation_prompt: boolean;
  [variable: string]: unknown;
}

interface Outcome {
  text?: string;
  error?: string;
}

const values = verifyValues(HELP, () => {
  return parseArgs({ options: { fixtures: { type: "string" }, help: { type: "boolean" } } }).values;
});
const root = join(values.fixtures, "templates");
const expected = JSON.parse(readFileSync(join(root, "expected.json"), "utf8"));
const conversations: Conversation[] = expected.cases;
const nowMs = Date.parse(`${expected.now}Z`);

let numDifferent = 0;
const rows: Record<string, string>[] = [];
for (const [name, wanted] of Object.entries<Record<string, Outcome>>(expected.rendered)) {
  const template = new JinjaChatTemplate(readFileSync(join(root, `${name}.jinja`), "utf8"), {
    bosToken: expected.bos_token,
    eosToken: expected.eos_token,
    nowMs: () => nowMs,
  });
  const different: string[] = [];
  for (const conversation of conversations) {
    const found = outcome(template, conversation);
    const reference = wanted[conversation.name]!;
    const isSame = reference.error === undefined ? found.text === reference.text : found.error !== undefined;
    if (isSame) continue;
    different.push(conversation.name);
    console.log(
      `${name}, ${conversation.name}\n  wants ${JSON.stringify(reference)}\n  gives ${JSON.stringify(found)}`,
    );
  }
  numDifferent += different.length;
  rows.push({
    template: name,
    same: `${conversations.length - different.length}/${conversations.length}`,
    different: different.join(),
  });
}
console.table(rows);
process.exitCode = numDifferent === 0 ? 0 : 1;

function outcome(template: JinjaChatTemplate, conversation: Conversation): Outcome {
  const { name: _, messages, add_generation_prompt, ...variables } = conversation;
  try {
    return { text: template.render(messages, { addGenerationPrompt: add_generation_prompt, variables }) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { error: error.message };
  }
}
