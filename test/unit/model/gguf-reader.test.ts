import { describe, expect, it } from "vitest";
import { ModelError, type ModelErrorKind } from "../../../src/model/errors.ts";
import { readGguf, readGgufHeader, tensorPieces } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import {
  bool,
  f32,
  f32s,
  i32s,
  string,
  strings,
  u32,
  type WriterFile,
  type WriterTensor,
  type WriterValue,
  writeGguf,
} from "../../support/gguf-writer.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";

const tensor = (name: string, numElements: number, fill = 1): WriterTensor => ({
  name,
  type: "F32",
  dims: [numElements],
  data: new Uint8Array(new Float32Array(numElements).fill(fill).buffer),
});

const file = (patch: Partial<WriterFile> = {}): Uint8Array<ArrayBuffer> =>
  writeGguf({ metadata: [["general.architecture", string("llama")]], tensors: [tensor("a", 8)], ...patch });

const read = (bytes: Uint8Array, chunkBytes?: number) => readGgufHeader(memorySource(bytes, "m.gguf", chunkBytes));

async function failure(bytes: Uint8Array): Promise<ModelError> {
  const error = await read(bytes).then(
    () => null,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(ModelError);
  return error as ModelError;
}

const EVERY_TYPE: [string, WriterValue, unknown][] = [
  ["u8", { type: "u8", value: 255 }, 255],
  ["i8", { type: "i8", value: -128 }, -128],
  ["u16", { type: "u16", value: 65535 }, 65535],
  ["i16", { type: "i16", value: -32768 }, -32768],
  ["u32", u32(4294967295), 4294967295],
  ["i32", { type: "i32", value: -2147483648 }, -2147483648],
  ["f32", f32(0.5), 0.5],
  ["bool", bool(true), true],
  ["string", string("héllo 你好"), "héllo 你好"],
  ["u64 small", { type: "u64", value: 7 }, 7],
  ["u64 large", { type: "u64", value: 2n ** 64n - 1n }, 2n ** 64n - 1n],
  ["i64 small", { type: "i64", value: -7 }, -7],
  ["i64 large", { type: "i64", value: -(2n ** 63n) }, -(2n ** 63n)],
  ["f64", { type: "f64", value: Math.PI }, Math.PI],
  ["strings", strings(["", "a", "Ġthe", "\u{1F642}"]), ["", "a", "Ġthe", "\u{1F642}"]],
  ["no strings", strings([]), []],
  ["bools", { type: "array", of: "bool", value: [true, false] }, [true, false]],
  ["i32s", i32s([1, -2, 3]), Int32Array.of(1, -2, 3)],
  ["f32s", f32s([0.25, -1]), Float32Array.of(0.25, -1)],
  ["u8s", { type: "array", of: "u8", value: [1, 2, 3] }, Uint8Array.of(1, 2, 3)],
  ["u64s", { type: "array", of: "u64", value: [2n ** 63n] }, BigUint64Array.of(2n ** 63n)],
  ["arrays", { type: "array", of: "array", value: [i32s([1]), strings(["x"])] }, [Int32Array.of(1), ["x"]]],
];

describe("readGguf", () => {
  it.each([1, 2, 3, 7, 64, 1 << 20])("reads every value type from chunks of %i bytes", async (chunkBytes) => {
    const metadata = EVERY_TYPE.map(([key, value]) => [key, value] as const);
    const header = await read(file({ metadata }), chunkBytes);
    expect([...header.metadata]).toEqual(EVERY_TYPE.map(([key, , expected]) => [key, expected]));
  });

  it("gives tensors with their places, and the data section its offset", async () => {
    const header = await read(file({ tensors: [tensor("a", 3), tensor("b", 8)] }));
    expect(header.version).toBe(3);
    expect(header.alignmentBytes).toBe(32);
    expect(header.dataOffsetBytes % 32).toBe(0);
    expect(header.tensors).toEqual([
      { name: "a", type: "F32", dims: [3], offsetBytes: 0, sizeBytes: 12 },
      { name: "b", type: "F32", dims: [8], offsetBytes: 32, sizeBytes: 32 },
    ]);
  });

  it("honours general.alignment", async () => {
    const metadata = [["general.alignment", u32(64)]] as const;
    const header = await read(file({ alignmentBytes: 64, metadata, tensors: [tensor("a", 1), tensor("b", 1)] }));
    expect(header.dataOffsetBytes % 64).toBe(0);
    expect(header.tensors.map(({ offsetBytes }) => offsetBytes)).toEqual([0, 64]);
  });

  it("reads version 2 and a file without tensors", async () => {
    const header = await read(file({ version: 2, tensors: [] }));
    expect(header.version).toBe(2);
    expect(header.tensors).toEqual([]);
  });

  it("keeps strings that are not UTF-8 with U+FFFD, but refuses such names", async () => {
    const bytes = file({ metadata: [["k", string("a~b")]] });
    bytes[bytes.indexOf("~".charCodeAt(0))] = 0xff;
    expect((await read(bytes)).metadata.get("k")).toBe("a\uFFFDb");
    const named = file({ metadata: [["k~", string("v")]] });
    named[named.indexOf("~".charCodeAt(0))] = 0xff;
    expect((await failure(named)).message).toContain("the name of key 1 of 1 is not UTF-8");
  });
});

describe("tensorPieces", () => {
  it.each([1, 5, 4096, 1 << 20])(
    "gives every tensor's bytes in file order from chunks of %i bytes",
    async (chunkBytes) => {
      const tensors = [tensor("a", 5, 1), tensor("b", 64, 2), tensor("c", 1, 3)];
      const { header, data } = await readGguf(memorySource(file({ tensors }), "m.gguf", chunkBytes));
      const got = new Map<string, number[]>();
      for await (const { tensor, offsetBytes, bytes } of tensorPieces(header, data)) {
        const part = got.get(tensor.name) ?? [];
        expect(offsetBytes).toBe(part.length);
        part.push(...bytes);
        got.set(tensor.name, part);
      }
      expect([...got]).toEqual(tensors.map(({ name, data }) => [name, [...data]]));
    },
  );

  it("takes tensors that the header lists out of order", async () => {
    const tensors = [
      { ...tensor("later", 8, 2), offsetBytes: 32 },
      { ...tensor("first", 8, 1), offsetBytes: 0 },
    ];
    const { header, data } = await readGguf(memorySource(file({ tensors }), "m.gguf"));
    const order: string[] = [];
    for await (const piece of tensorPieces(header, data)) order.push(piece.tensor.name);
    expect(order).toEqual(["first", "later"]);
  });

  it("says where a file of unknown size ends too early", async () => {
    const bytes = file({ tensors: [tensor("a", 8), tensor("b", 8)] });
    const source = { ...memorySource(bytes.subarray(0, bytes.length - 4), "m.gguf"), sizeBytes: null };
    const { header, data } = await readGguf(source);
    const all = async () => {
      for await (const piece of tensorPieces(header, data)) expect(piece.bytes.length).toBeGreaterThan(0);
    };
    await expect(all()).rejects.toThrow(`the tensor "b" ends at byte ${bytes.length}, the file at ${bytes.length - 4}`);
  });

  it("ends the stream when it is left early", async () => {
    let cancelled = false;
    const bytes = tinyModelBytes();
    const source = {
      name: "m.gguf",
      sizeBytes: bytes.length,
      open: async () => {
        let at = 0;
        return new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(bytes.subarray(at, at + 4096));
            at += 4096;
          },
          cancel() {
            cancelled = true;
          },
        });
      },
    };
    const { header, data } = await readGguf(source);
    for await (const piece of tensorPieces(header, data)) {
      expect(piece.offsetBytes).toBe(0);
      break;
    }
    expect(cancelled).toBe(true);
  });

  it("passes on what the source says when it fails, and wraps what it throws", async () => {
    const failing = (cause: unknown) => ({
      name: "m.gguf",
      sizeBytes: null,
      open: async () => new ReadableStream<Uint8Array>({ pull: () => Promise.reject(cause) }),
    });
    await expect(readGguf(failing(new ModelError("unreadable", "gone")))).rejects.toThrow("gone");
    await expect(readGguf(failing(new Error("reset")))).rejects.toMatchObject({
      kind: "unreadable",
      message: expect.stringContaining("m.gguf could not be read to its end: Error: reset"),
    });
  });
});

/** Overwrites bytes of a copy. */
function patched(bytes: Uint8Array, at: number, values: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
}

const U64_MAX = [255, 255, 255, 255, 255, 255, 255, 255];

const REFUSALS: [string, Uint8Array, ModelErrorKind, string][] = [
  [
    "another file",
    new TextEncoder().encode("hello world, hello"),
    "corrupt",
    `it starts with "hell" instead of "GGUF"`,
  ],
  ["a web page", new TextEncoder().encode("<!DOCTYPE html>"), "corrupt", "like a web page"],
  ["an LFS pointer", new TextEncoder().encode("version https://git-lfs"), "corrupt", "like a Git LFS pointer"],
  ["version 1", file({ version: 1 }), "corrupt", "GGUF version 1; versions 2 and 3 are read"],
  ["version 4", file({ version: 4 }), "corrupt", "GGUF version 4"],
  ["big-endian", patched(file(), 4, [0, 0, 0, 3]), "corrupt", "big-endian"],
  [
    "a huge tensor count",
    patched(file(), 8, U64_MAX),
    "corrupt",
    "the tensor count is 18446744073709552000; the limit is 65536",
  ],
  [
    "a huge key count",
    patched(file(), 16, U64_MAX),
    "corrupt",
    "the key count is 18446744073709552000; the limit is 4096",
  ],
  ["a huge key length", patched(file(), 24, U64_MAX), "corrupt", "the name of key 1 of 1 claims"],
  ["an unknown value type", patched(file(), 52, [99]), "corrupt", `the key "general.architecture" has value type 99`],
  ["a huge string", patched(file(), 56, U64_MAX), "corrupt", "the limit is 8388608"],
  ["an empty key", file({ metadata: [["", u32(1)]] }), "corrupt", "the name of key 1 of 1 is empty"],
  [
    "a key twice",
    file({
      metadata: [
        ["k", u32(1)],
        ["k", u32(1)],
      ],
    }),
    "corrupt",
    `the key "k" occurs twice`,
  ],
  ["a tensor twice", file({ tensors: [tensor("t", 8), tensor("t", 8)] }), "corrupt", `the tensor "t" occurs twice`],
  ["a boolean 2", file({ metadata: [["k", { type: "bool", value: 2 }]] }), "corrupt", "has the boolean 2"],
  ["alignment 24", file({ metadata: [["general.alignment", u32(24)]] }), "corrupt", `"general.alignment" is 24`],
  ["alignment 0", file({ metadata: [["general.alignment", u32(0)]] }), "corrupt", `"general.alignment" is 0`],
  ["alignment as text", file({ metadata: [["general.alignment", string("32")]] }), "corrupt", "must be a power of two"],
  ["rank 5", file({ tensors: [{ ...tensor("t", 1), dims: [1, 1, 1, 1, 1] }] }), "corrupt", "has 5 dimensions"],
  ["rank 0", file({ tensors: [{ ...tensor("t", 1), dims: [] }] }), "corrupt", "has 0 dimensions"],
  ["a dimension of 0", file({ tensors: [{ ...tensor("t", 1), dims: [1, 0] }] }), "corrupt", "dimensions 1 × 0"],
  [
    "dimensions that overflow",
    file({ tensors: [{ ...tensor("t", 1), dims: [2 ** 32, 2 ** 32] }] }),
    "corrupt",
    "under 2^53",
  ],
  [
    "a named type without reader",
    file({ tensors: [{ ...tensor("t", 256), type: 16 }] }),
    "unsupported_type",
    "IQ2_XXS (16)",
  ],
  [
    "a type nobody knows",
    file({ tensors: [{ ...tensor("t", 256), type: 77 }] }),
    "unsupported_type",
    "unknown type (77)",
  ],
  [
    "half a block in a row",
    file({ tensors: [{ ...tensor("t", 40), type: "Q4_0" }] }),
    "corrupt",
    "rows of 40 elements; Q4_0 needs a multiple of 32",
  ],
  [
    "an offset out of alignment",
    file({ tensors: [{ ...tensor("t", 8), offsetBytes: 8 }] }),
    "corrupt",
    "offset 8, which is no multiple of 32",
  ],
  [
    "overlapping tensors",
    file({ tensors: [tensor("a", 16), { ...tensor("b", 8), offsetBytes: 32 }] }),
    "corrupt",
    `"b" at offset 32 overlaps "a", which ends at 64`,
  ],
  [
    "a tensor past the end",
    file({ tensors: [tensor("a", 8), { ...tensor("b", 8), offsetBytes: 64 }] }),
    "corrupt",
    "(32 bytes are missing)",
  ],
  ["a long tensor name", file({ tensors: [tensor("n".repeat(65), 8)] }), "corrupt", "the limit is 64"],
  ["arrays nested too deep", file({ metadata: [["k", nested(4)]] }), "corrupt", "nests arrays deeper than 3"],
  ["an empty file", new Uint8Array(0), "corrupt", "it ends after 0 bytes, in the magic (8 more bytes are needed)"],
];

function nested(depth: number): WriterValue {
  return depth === 0 ? i32s([1]) : { type: "array", of: "array", value: [nested(depth - 1)] };
}

describe("what is refused", () => {
  it.each(REFUSALS)("%s", async (_case, bytes, kind, part) => {
    const error = await failure(bytes);
    expect(error.message).toContain(part);
    expect(error.kind).toBe(kind);
    expect(error.message).toContain("m.gguf");
  });

  it("an array longer than the file, before it is allocated", async () => {
    const bytes = file({ metadata: [["k", f32s([1])]] });
    // The count of the array: magic, version, counts, key length, "k", value type, element type.
    const error = await failure(patched(bytes, 24 + 8 + 1 + 4 + 4, [0, 0, 15, 0, 0, 0, 0, 0]));
    expect(error.message).toContain(`is truncated: the key "k" needs the first`);
  });

  it("an array longer than the limit", async () => {
    const bytes = file({ metadata: [["k", f32s([1])]] });
    const error = await failure(patched(bytes, 24 + 8 + 1 + 4 + 4, U64_MAX));
    expect(error.message).toContain("the limit is 1048576");
  });

  it("more strings and booleans than a header may hold, whatever the arrays are called", async () => {
    const value = new Uint8Array(1 << 20) as unknown as boolean[];
    const keys = ["a", "b", "c"].map((key) => [key, { type: "array", of: "bool", value } as WriterValue] as const);
    expect((await failure(file({ metadata: keys }))).message).toContain("to 3145728; the limit is 2097152");
  });

  it("a header over its limit, in a source that does not say its size", async () => {
    const value = new Float64Array(1 << 20) as unknown as number[];
    const keys = ["a", "b", "c", "d"].map((key) => [key, { type: "array", of: "f64", value } as WriterValue] as const);
    const source = { ...memorySource(file({ metadata: keys }), "m.gguf"), sizeBytes: null };
    await expect(readGgufHeader(source)).rejects.toThrow("the limit of a header is 33554432 bytes");
  });
});
