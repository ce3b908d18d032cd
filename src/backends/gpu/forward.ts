/**
 * A model as bound kernels: which run for a step, over which lists. Everything that a ModelSpec can ask for is a choice of
 * kernels made here, once; a step only says how many workgroups.
 */
import { decodeAttention } from "../../../kernels-gpu/attention/decode.ts";
import { mergeAttention } from "../../../kernels-gpu/attention/merge.ts";
import { prefillAttention } from "../../../kernels-gpu/attention/prefill.ts";
import { ropeKv } from "../../../kernels-gpu/attention/rope-kv.ts";
import type { AttentionShape } from "../../../kernels-gpu/attention/tile.ts";
import { embedding, embeddingWorkgroups } from "../../../kernels-gpu/embedding/embedding.ts";
import { norm, normWorkgroups } from "../../../kernels-gpu/norm/norm.ts";
import type { LayerTensors, ModelSpec, RoleTensor, RopeSpec } from "../../model/model-spec.ts";
import type { Arena, LayerPages } from "./arena.ts";
import type { BoundKernel, BufferPart, Dispatch, GpuDevice } from "./device.ts";
import type { OutputTurn } from "./encode-step.ts";
import type { GpuLoras, LoraSite } from "./lora.ts";
import { bindLayerLoras, type LayerLoras, NO_LORAS } from "./lora-layer.ts";
import { Product } from "./product.ts";
import type { StepBuffer } from "./step-buffer.ts";
import type { GpuMatrix, WeightLoader } from "./weights.ts";

/** How much of each kind of work a step has. */
export interface StepSize {
  numTokens: number;
  /** Items and rows of the decode kernels, and items of prefill. Local layers have items of their own. */
  numSpans: number;
  numItems: number;
  numLocalItems: number;
  numPrefillItems: number;
  /** Rows with an adapter, in items of the LoRA kernels. */
  numLoraItems: number;
}

export interface ForwardContext {
  device: GpuDevice;
  spec: ModelSpec;
  arena: Arena;
  step: StepBuffer;
  /** Of each rotation, as `ropeTable` makes them. */
  ropeTables: Map<RopeSpec, GPUBuffer>;
  /** null = none was loaded. */
  loras: GpuLoras | null;
  /** Bound where a kernel has a buffer that it does not read. */
  nothing: GPUBuffer;
}

interface Layer {
  attnNorm: BoundKernel;
  qkv: Product[];
  ropeKv: BoundKernel;
  decode: BoundKernel;
  merge: BoundKernel;
  prefill: BoundKernel;
  isLocal: boolean;
  output: Product;
  postAttention: BoundKernel | null;
  ffnNorm: BoundKernel;
  up: Product;
  down: Product;
  postFfn: BoundKernel | null;
  loras: LayerLoras;
}

/** Asks the loader for the weights; once the file was read, `bind` makes kernels of them. */
export class Forward {
  readonly #context: ForwardContext;
  readonly #embedding: GpuMatrix;
  readonly #head: GpuMatrix;
  readonly #makeLayers: (() => Promise<Layer>)[];
  readonly #outputNorm: { weight: GPUBuffer; bias: GPUBuffer };
  #layers: Layer[] = [];
  #embed: BoundKernel | null = null;
  #finalNorm: BoundKernel | null = null;
  #logits: Product | null = null;

  constructor(context: ForwardContext, loader: WeightLoader) {
    const { tensors, dModel } = context.spec;
    this.#context = context;
    this.#embedding = loader.matrix([tensors.tokenEmbedding]);
    this.#head = tensors.output === null ? this.#embedding : loader.matrix([tensors.output]);
    this.#outputNorm = {
      weight: loader.vector([tensors.outputNorm], [dModel]),
      bias: loader.vector([tensors.outputNormBias], [dModel]),
    };
    this.#makeLayers = tensors.layers.map((layer, i) => prepareLayer(context, loader, layer, i));
  }

  async bind(positionTable: GPUBuffer | null): Promise<void> {
    const { device, spec, arena, step, nothing } = this.#context;
    const { weightType } = this.#embedding;
    const shape = {
      weightType,
      width: spec.dModel,
      scale: spec.embeddingScale,
      hasPositions: positionTable !== null,
    };
    this.#embed = await device.bind(embedding(shape), {
      tokens: step.part("tokens"),
      slots: arena.slots,
      places: step.part("places"),
      quants: this.#embedding.quants,
      extras: this.#embedding.extras,
      positionTable: positionTable ?? nothing,
      y: arena.stream,
    });
    const kernel = norm({ ...normShape(this.#context), output: "lanes", gathers: true });
    this.#finalNorm = await device.bind(kernel, {
      counts: step.part("headCounts"),
      rows: step.part("headRows"),
      x: arena.stream,
      ...this.#outputNorm,
      y: arena.headInput,
    });
    this.#logits = new Product(device, this.#head, {
      counts: step.part("headCounts"),
      x: arena.headInput,
      y: arena.logits,
      bias: null,
      epilogue: "store",
    });
    this.#layers = await Promise.all(this.#makeLayers.map((make) => make()));
    // A CPU that plays a GPU would compile for minutes what it may never run.
    if (!device.adapter.isSoftware) await this.#warm();
  }

  async #warm(): Promise<void> {
    const products = this.#layers.flatMap(({ qkv, output, up, down, loras }) => [
      ...qkv,
      output,
      up,
      down,
      ...(loras.up === null ? [] : [loras.up.product]),
    ]);
    await Promise.all([this.#logits!, ...products].map((product) => product.warm()));
  }

  /** From tokens to the residual stream after the last layer; keys and values are in their pages then. */
  async body(size: StepSize): Promise<Dispatch[]> {
    const { numTokens, numSpans, numItems, numLocalItems, numPrefillItems, numLoraItems } = size;
    const { spec } = this.#context;
    const { numHeads, numKvHeads } = spec;
    const { weightType } = this.#embedding;
    const shape = { weightType, width: spec.dModel, scale: spec.embeddingScale, hasPositions: false };
    const rows = normWorkgroups(numTokens);
    const dispatches: Dispatch[] = [{ kernel: this.#embed!, workgroups: embeddingWorkgroups(shape, numTokens) }];
    const adapt = (site: LoraSite | null) => {
      if (site !== null && numLoraItems > 0) dispatches.push(...site(numLoraItems));
    };
    for (const layer of this.#layers) {
      const { loras } = layer;
      dispatches.push({ kernel: layer.attnNorm, workgroups: rows });
      for (const product of layer.qkv) dispatches.push(await product.dispatch(numTokens));
      adapt(loras.qkv);
      dispatches.push({ kernel: layer.ropeKv, workgroups: [numHeads + 2 * numKvHeads, numTokens] });
      if (numSpans > 0) {
        const items = layer.isLocal ? numLocalItems : numItems;
        dispatches.push({ kernel: layer.decode, workgroups: [items, numKvHeads] });
        dispatches.push({ kernel: layer.merge, workgroups: [numSpans, numHeads] });
      }
      if (numPrefillItems > 0) dispatches.push({ kernel: layer.prefill, workgroups: [numPrefillItems, numKvHeads] });
      dispatches.push(await layer.output.dispatch(numTokens));
      adapt(loras.output);
      if (layer.postAttention !== null) dispatches.push({ kernel: layer.postAttention, workgroups: rows });
      dispatches.push({ kernel: layer.ffnNorm, workgroups: rows });
      if (loras.up === null || numLoraItems === 0) dispatches.push(await layer.up.dispatch(numTokens));
      else dispatches.push(...(await loras.up.dispatches(numTokens, numLoraItems)));
      dispatches.push(await layer.down.dispatch(numTokens));
      adapt(loras.down);
      if (layer.postFfn !== null) dispatches.push({ kernel: layer.postFfn, workgroups: rows });
    }
    return dispatches;
  }

  /** The rows in `headRows` behind the final norm, and logits of the first of them. */
  async head({ numHeadRows, numLogitRows }: OutputTurn): Promise<Dispatch[]> {
    const dispatches: Dispatch[] = [{ kernel: this.#finalNorm!, workgroups: normWorkgroups(numHeadRows) }];
    if (numLogitRows > 0) dispatches.push(await this.#logits!.dispatch(numLogitRows));
    return dispatches;
  }
}

function normShape({ spec, device }: ForwardContext) {
  const { dModel, normEpsilon, norm: kind } = spec;
  return { width: dModel, epsilon: normEpsilon, kind, gathers: false, subgroups: device.hasSubgroups } as const;
}

/** @returns what binds the layer's kernels, once the loader has its weights */
function prepareLayer(
  context: ForwardContext,
  loader: WeightLoader,
  layer: LayerTensors,
  index: number,
): () => Promise<Layer> {
  const { device, spec, arena, step, ropeTables, loras, nothing } = context;
  const { dModel, headDim, numHeads } = spec;
  const counts = step.part("counts");
  const pages = arena.pages[index]!;
  const local = spec.slidingWindow?.isLocal[index] ? spec.slidingWindow : null;
  const rope = local === null ? spec.rope : local.rope;
  const vector = (role: RoleTensor | null, length: number) => loader.vector([role], [length]);

  const norms = {
    attn: { weight: vector(layer.attnNorm, dModel), bias: vector(layer.attnNormBias, dModel) },
    ffn: { weight: vector(layer.ffnNorm, dModel), bias: vector(layer.ffnNormBias, dModel) },
    postAttention: layer.attnPostNorm && vector(layer.attnPostNorm, dModel),
    postFfn: layer.ffnPostNorm && vector(layer.ffnPostNorm, dModel),
    q: layer.attnQNorm && vector(layer.attnQNorm, headDim),
    k: layer.attnKNorm && vector(layer.attnKNorm, headDim),
  };
  const qkv = qkvProducts(context, loader, layer);
  const into = (role: RoleTensor, bias: RoleTensor | null, x: GPUBuffer, post: unknown) =>
    new Product(device, loader.matrix([role]), {
      counts,
      x,
      y: post === null ? arena.stream : arena.added,
      bias: bias && vector(bias, dModel),
      epilogue: post === null ? "add" : "store",
    });
  const output = into(layer.attnOutput, layer.attnOutputBias, arena.attended, layer.attnPostNorm);
  const down = into(layer.ffnDown, layer.ffnDownBias, arena.inner, layer.ffnPostNorm);
  const up = upProduct(context, loader, layer);

  return async () => {
    const toLanes = norm({ ...normShape(context), output: "lanes" });
    const bindNorm = (weights: { weight: GPUBuffer; bias: GPUBuffer }) =>
      device.bind(toLanes, { counts, rows: counts, x: arena.stream, ...weights, y: arena.normed });
    const ontoStream = norm({ ...normShape(context), kind: "rms", output: "add" });
    const bindPost = async (weight: GPUBuffer | null) =>
      weight &&
      device.bind(ontoStream, { counts, rows: counts, x: arena.added, weight, bias: weight, y: arena.stream });
    const shape: AttentionShape = { ...arena.kvShape, numHeads, window: local?.numTokens ?? 0 };
    const kernel = ropeKv({
      ...arena.kvShape,
      numHeads,
      rope,
      hasHeadNorms: norms.q !== null,
      normEpsilon: spec.normEpsilon,
      attentionScale: spec.attentionScale,
      subgroups: device.hasSubgroups,
    });
    return {
      attnNorm: await bindNorm(norms.attn),
      qkv,
      ropeKv: await device.bind(kernel, {
        qkv: arena.qkv,
        qNorm: norms.q ?? nothing,
        kNorm: norms.k ?? nothing,
        table: rope === null ? nothing : ropeTables.get(rope)!,
        places: step.part("places"),
        q: arena.q,
        ...pages,
      }),
      ...(await bindAttention(context, shape, pages, local !== null)),
      isLocal: local !== null,
      output,
      postAttention: await bindPost(norms.postAttention),
      ffnNorm: await bindNorm(norms.ffn),
      up,
      down,
      postFfn: await bindPost(norms.postFfn),
      loras: loras === null ? NO_LORAS : await bindLayerLoras({ device, spec, arena, loras }, layer, up),
    };
  };
}

/** One product where q, k and v are of one type, else one for each. */
function qkvProducts(
  { device, spec, arena, step }: ForwardContext,
  loader: WeightLoader,
  layer: LayerTensors,
): Product[] {
  const { numHeads, numKvHeads, headDim } = spec;
  const roles = [layer.attnQ, layer.attnK, layer.attnV];
  const biases = [layer.attnQBias, layer.attnKBias, layer.attnVBias];
  const rows = [numHeads * headDim, numKvHeads * headDim, numKvHeads * headDim];
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const groups = roles.every(({ type }) => type === roles[0]!.type) ? [[0, 1, 2]] : [[0], [1], [2]];
  let firstColumn = 0;
  return groups.map((group) => {
    const lengths = group.map((i) => rows[i]!);
    const own = group.map((i) => biases[i]!);
    const product = new Product(device, loader.matrix(group.map((i) => roles[i]!)), {
      counts: step.part("counts"),
      x: arena.normed,
      y: arena.qkv,
      bias: own.every((bias) => bias === null) ? null : loader.vector(own, lengths),
      epilogue: "store",
      columns: { firstColumn, width },
    });
    firstColumn += lengths.reduce((sum, length) => sum + length, 0);
    return product;
  });
}

function upProduct({ device, spec, arena, step }: ForwardContext, loader: WeightLoader, layer: LayerTensors): Product {
  const { ffnGate, ffnUp, ffnUpBias } = layer;
  const places = { counts: step.part("counts"), x: arena.normed, y: arena.inner };
  if (ffnGate !== null) {
    const matrix = loader.matrix([ffnGate, ffnUp], "interleaved");
    return new Product(device, matrix, { ...places, bias: null, epilogue: spec.activation });
  }
  const bias = ffnUpBias && loader.vector([ffnUpBias], [spec.ffnDim]);
  return new Product(device, loader.matrix([ffnUp]), { ...places, bias, epilogue: "gelu-tanh-single" });
}

type BoundAttention = Record<"decode" | "merge" | "prefill", BoundKernel>;

async function bindAttention(
  { device, arena, step }: ForwardContext,
  shape: AttentionShape,
  pages: LayerPages,
  isLocal: boolean,
): Promise<BoundAttention> {
  const { q, partials, maxima, attended } = arena;
  const tables: BufferPart = step.part("tables");
  const items = step.part(isLocal ? "localItems" : "decodeItems");
  const spans = step.part(isLocal ? "localSpans" : "spans");
  return {
    decode: await device.bind(decodeAttention(shape), { items, tables, q, ...pages, partials, maxima }),
    merge: await device.bind(mergeAttention(shape), { spans, partials, maxima, y: attended }),
    prefill: await device.bind(prefillAttention(shape), {
      items: step.part("prefillItems"),
      tables,
      q,
      ...pages,
      y: attended,
    }),
  };
}
