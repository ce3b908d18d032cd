/**
 * Finds tensors by name, checks shape and type, and remembers which were asked for, so that the rest can be refused.
 */
import type { TensorRule, Widths } from "./architectures.ts";
import { contradiction, ModelError } from "./errors.ts";
import type { GgufHeader, GgufTensorInfo } from "./gguf.ts";
import type { RoleTensor } from "./model-spec.ts";

export class TensorFinder {
  readonly #byName: Map<string, GgufTensorInfo>;
  readonly #unused: Set<string>;
  readonly #sourceName: string;

  constructor(header: GgufHeader, sourceName: string) {
    this.#byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
    this.#unused = new Set(this.#byName.keys());
    this.#sourceName = sourceName;
  }

  find(name: string): GgufTensorInfo {
    const tensor = this.#byName.get(name);
    if (tensor !== undefined) return tensor;
    throw new ModelError("missing", `${this.#sourceName} has no tensor "${name}", which its architecture needs.`);
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  required({ name, shape }: TensorRule, prefix: string, widths: Widths): RoleTensor {
    if ("vector" in shape) return this.vector(prefix + name, widths[shape.vector]);
    return this.matrix(prefix + name, { out: widths[shape.out], in: widths[shape.in] });
  }

  optional(rule: TensorRule, prefix: string, widths: Widths): RoleTensor | null {
    return this.has(prefix + rule.name) ? this.required(rule, prefix, widths) : null;
  }

  vector(name: string, length: number): RoleTensor {
    const tensor = this.find(name);
    this.#checkVector(tensor, length);
    return this.#use(tensor);
  }

  matrix(name: string, dims: { out: number; in: number }): RoleTensor {
    const tensor = this.find(name);
    this.#checkDims(tensor, [dims.in, dims.out]);
    return this.#use(tensor);
  }

  /** A bias or norm that no rule asked for would be missing from the computation. */
  refuseUnused(architecture: string): void {
    if (this.#unused.size === 0) return;
    const names = [...this.#unused];
    const some = names.slice(0, 4).map((name) => JSON.stringify(name));
    throw new ModelError(
      "unsupported_architecture",
      `${this.#sourceName} has ${names.length} tensors that the ${architecture} architecture does not explain: ` +
        `${some.join(", ")}${names.length > some.length ? ", …" : ""}. Its results would be wrong without them.`,
    );
  }

  #use(tensor: GgufTensorInfo): RoleTensor {
    this.#unused.delete(tensor.name);
    return { ...tensor, stored: tensor, firstRow: 0 };
  }

  #checkVector(tensor: GgufTensorInfo, length: number): void {
    this.#checkDims(tensor, [length]);
    if (tensor.type === "F32") return;
    throw new ModelError(
      "unsupported_type",
      `${this.#sourceName}: the tensor "${tensor.name}" is ${tensor.type}; vectors must be F32.`,
    );
  }

  #checkDims(tensor: GgufTensorInfo, expected: number[]): void {
    const { dims } = tensor;
    const isEqual = dims.every((dim, i) => dim === (expected[i] ?? 1)) && dims.length >= expected.length;
    if (isEqual) return;
    throw contradiction(
      this.#sourceName,
      `the tensor "${tensor.name}" has the dimensions ${dims.join(" × ")}; they must be ${expected.join(" × ")}`,
    );
  }
}
