/** Random JSON Schemas over every keyword that is enforced. Some contradict themselves; those may be refused. */
type Json = Record<string, unknown>;

export class SchemaSource {
  readonly #uniform: () => number;
  #numDefinitions = 0;

  constructor(uniform: () => number) {
    this.#uniform = uniform;
  }

  schema(): Json {
    this.#numDefinitions = this.#int(0, 2);
    const definitions: Json = {};
    for (let i = 0; i < this.#numDefinitions; i++) definitions[`d${i}`] = this.#object(2);
    const root = this.#chance(0.7) ? this.#object(3) : this.#any(3);
    const head = this.#chance(0.3) ? { $schema: "https://json-schema.org/draft/2020-12/schema", title: "T" } : {};
    return this.#numDefinitions === 0 ? { ...head, ...root } : { ...head, ...root, $defs: definitions };
  }

  #any(depth: number): Json {
    const kinds = [
      ...[() => this.#string(), () => this.#integer(), () => this.#number(), () => this.#values(), () => this.#types()],
      ...[() => ({ type: "boolean" }), () => ({ type: "null" }), () => ({}), () => this.#format()],
    ];
    if (depth > 0) {
      kinds.push(
        ...[() => this.#object(depth - 1), () => this.#object(depth - 1), () => this.#array(depth - 1)],
        ...[() => this.#tuple(depth - 1), () => this.#anyOf(depth - 1), () => this.#oneOf(), () => this.#allOf()],
        ...[() => this.#record(depth - 1)],
      );
      if (this.#numDefinitions > 0)
        kinds.push(
          () => this.#reference(),
          () => this.#reference(),
        );
    }
    const schema = this.#pick(kinds)();
    return this.#chance(0.1) ? { ...schema, description: "d", default: 1, examples: [1] } : schema;
  }

  #object(depth: number): Json {
    const properties: Json = {};
    for (let i = this.#int(0, 4); i > 0; i--) properties[this.#pick(NAMES)] = this.#any(depth);
    const required = Object.keys(properties).filter(() => this.#chance(0.6));
    const rest = this.#pick([{}, { additionalProperties: false }, { additionalProperties: true }, null]);
    return {
      type: "object",
      properties,
      ...(required.length > 0 || this.#chance(0.3) ? { required } : {}),
      ...(rest ?? { additionalProperties: this.#any(0) }),
    };
  }

  #record(depth: number): Json {
    return {
      type: "object",
      ...this.#pick([
        { additionalProperties: this.#any(depth) },
        { patternProperties: { "^[a-c]{1,3}$": this.#any(depth) }, additionalProperties: false },
        { propertyNames: { pattern: "^x" }, additionalProperties: this.#any(depth), minProperties: 1 },
        { propertyNames: { enum: ["p", "q"] }, maxProperties: 2 },
      ]),
    };
  }

  #array(depth: number): Json {
    const min = this.#int(0, 3);
    return {
      type: "array",
      ...(this.#chance(0.9) ? { items: this.#any(depth) } : {}),
      ...(this.#chance(0.5) ? { minItems: min } : {}),
      ...(this.#chance(0.5) ? { maxItems: min + this.#int(0, 5) } : {}),
    };
  }

  #tuple(depth: number): Json {
    return {
      type: "array",
      prefixItems: Array.from({ length: this.#int(1, 3) }, () => this.#any(depth)),
      ...(this.#chance(0.4) ? { items: this.#pick([false, { type: "integer" }]) } : {}),
      ...(this.#chance(0.4) ? { minItems: this.#int(0, 2) } : {}),
    };
  }

  #string(): Json {
    const min = this.#int(0, 6);
    return {
      type: "string",
      ...this.#pick([
        {},
        { minLength: min },
        { minLength: min, maxLength: min + this.#int(0, 40) },
        { pattern: this.#pick(PATTERNS) },
        { pattern: this.#pick(PATTERNS), maxLength: 40 },
      ]),
    };
  }

  #format(): Json {
    return { type: "string", format: this.#pick(FORMATS) };
  }

  #integer(): Json {
    const low = this.#int(-2000, 2000);
    return {
      type: "integer",
      ...(this.#chance(0.5) ? { [this.#pick(["minimum", "exclusiveMinimum"])]: low } : {}),
      ...(this.#chance(0.5) ? { [this.#pick(["maximum", "exclusiveMaximum"])]: low + this.#int(0, 3000) } : {}),
      ...(this.#chance(0.3) ? { multipleOf: this.#pick([1, 2, 3, 7, 10, 25, 60]) } : {}),
    };
  }

  #number(): Json {
    const low = this.#pick([0, -1, 0.5, -0.25, 1.125, 100, -1000.75, 1e6]);
    return {
      type: "number",
      ...(this.#chance(0.5) ? { [this.#pick(["minimum", "exclusiveMinimum"])]: low } : {}),
      ...(this.#chance(0.5)
        ? { [this.#pick(["maximum", "exclusiveMaximum"])]: low + this.#pick([0.001, 0.75, 1, 99]) }
        : {}),
    };
  }

  #values(): Json {
    const values = ["red", "green", 'quo"te', "日本", 1, 2.5, true, null, [1, "a"], { k: "v" }];
    return this.#pick([
      { const: this.#pick(values) },
      { enum: values.filter(() => this.#chance(0.4)).concat("blue") },
      { type: "string", enum: ["a", "ab", "abc"] },
    ]);
  }

  #types(): Json {
    return { type: ["string", "number", "integer", "boolean"].filter(() => this.#chance(0.3)).concat("null") };
  }

  #anyOf(depth: number): Json {
    return { anyOf: Array.from({ length: this.#int(1, 3) }, () => this.#any(depth)) };
  }

  #oneOf(): Json {
    const variant = (kind: string, more: Json) => ({
      type: "object",
      properties: { kind: { const: kind }, ...more },
      required: ["kind"],
    });
    return this.#pick([
      { oneOf: [{ type: "string" }, { type: "integer" }, { type: "null" }] },
      { oneOf: [variant("a", { x: this.#any(0) }), variant("b", { y: this.#any(0) })] },
    ]);
  }

  #allOf(): Json {
    return this.#pick([
      { allOf: [{ type: "integer", minimum: 3 }, { maximum: 900 }, { multipleOf: 2 }, { multipleOf: 3 }] },
      {
        allOf: [
          { type: "object", properties: { a: this.#any(0) }, required: ["a"] },
          { properties: { b: this.#any(0) } },
        ],
      },
      { type: ["string", "null"], allOf: [{ minLength: 2 }, { maxLength: 9 }] },
    ]);
  }

  #reference(): Json {
    const reference = { $ref: `#/$defs/d${this.#int(0, this.#numDefinitions - 1)}` };
    // Not always required, or a definition that refers to itself would have no end.
    return this.#pick([{ anyOf: [reference, { type: "null" }] }, { type: "array", items: reference, maxItems: 3 }]);
  }

  #int(low: number, high: number): number {
    return low + Math.floor(this.#uniform() * (high - low + 1));
  }

  #chance(share: number): boolean {
    return this.#uniform() < share;
  }

  #pick<T>(options: readonly T[]): T {
    return options[Math.floor(this.#uniform() * options.length)]!;
  }
}

const NAMES = ["a", "b", "ab", "name", "kind", "größe", 'q"x', "x y", "__proto__x"];
const PATTERNS = [
  "^[a-z]{2,5}$",
  "^\\d{3}-\\d{4}$",
  "ab+c",
  "^(foo|bar)*$",
  '[^"\\\\]$',
  "^\\w+( \\w+)?$",
  "^.{0,8}$",
  "\\s|x$",
];
const FORMATS = [
  "date-time",
  "date",
  "time",
  "email",
  "uuid",
  "uri",
  "ipv4",
  "ipv6",
  "hostname",
  "duration",
  "made-up",
];
