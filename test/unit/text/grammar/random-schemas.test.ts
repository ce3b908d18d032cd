/** A thousand random schemas: whatever is drawn from their grammars, an independent validator finds it valid. */
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { expect, test } from "vitest";
import { ApiError } from "../../../../src/protocol/errors.ts";
import { GrammarCompiler } from "../../../../src/text/grammar/grammar-compiler.ts";
import type { TokenGrammar } from "../../../../src/text/grammar/token-grammar.ts";
import { uniformSource } from "../../../support/random.ts";
import { SchemaSource } from "./random-schema.ts";
import { sample } from "./sample.ts";
import { JSON_WORDS, testVocabulary } from "./vocabulary.ts";

const NUM_SCHEMAS = 1000;
const TEXTS_PER_SCHEMA = 4;

const vocabulary = testVocabulary(JSON_WORDS);
const compiler = new GrammarCompiler(vocabulary);

const ajv = new Ajv2020({ strict: false, logger: false });
formats.default(ajv);

/** null where the schema contradicts itself, or says what is refused. */
function compiled(schema: unknown): TokenGrammar | null {
  try {
    return compiler.compile({ kind: "schema", schema }, "schema");
  } catch (cause) {
    if (cause instanceof ApiError && cause.status === 400) return null;
    throw cause;
  }
}

test(`texts of ${NUM_SCHEMAS} random schemas are valid at temperature 1`, () => {
  const uniform = uniformSource(20261201);
  const source = new SchemaSource(uniform);
  let numSchemas = 0;
  let numRefused = 0;
  let numTexts = 0;
  let numUnfinished = 0;
  while (numSchemas < NUM_SCHEMAS) {
    const schema = source.schema();
    const grammar = compiled(schema);
    if (grammar === null) {
      numRefused++;
      continue;
    }
    numSchemas++;
    const validate = ajv.compile(schema);
    for (let i = 0; i < TEXTS_PER_SCHEMA; i++) {
      const { text, isComplete } = sample(grammar, vocabulary, uniform, { numTokensMax: 1500, endsFrom: 30 });
      if (!isComplete) {
        numUnfinished++;
        continue;
      }
      numTexts++;
      const isValid = validate(JSON.parse(text));
      expect(isValid, `${JSON.stringify(schema)}\n${text}\n${JSON.stringify(validate.errors)}`).toBe(true);
    }
  }
  console.log(`${numTexts} texts of ${numSchemas} schemas, ${numUnfinished} unfinished, ${numRefused} schemas refused`);
  expect(numTexts).toBeGreaterThan(NUM_SCHEMAS * TEXTS_PER_SCHEMA * 0.98);
  expect(numRefused).toBeLessThan(NUM_SCHEMAS * 0.1);
});
