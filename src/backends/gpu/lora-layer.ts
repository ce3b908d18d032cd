/** The adapters of one layer: which products they touch, and where those read and write. */
import { activate, activateWorkgroups } from "../../../kernels-gpu/activation/activate.ts";
import type { LayerTensors, ModelSpec, RoleTensor } from "../../model/model-spec.ts";
import type { Arena } from "./arena.ts";
import type { Dispatch, GpuDevice } from "./device.ts";
import type { GpuLoras, LoraSite } from "./lora.ts";
import type { LoraPlace } from "./lora-weights.ts";
import type { Product } from "./product.ts";

/** null = no adapter has anything for it. */
export interface LayerLoras {
  qkv: LoraSite | null;
  output: LoraSite | null;
  /** In the place of the product whose epilogue activates: adapters are added before that. */
  up: AdaptedUp | null;
  down: LoraSite | null;
}

export const NO_LORAS: LayerLoras = { qkv: null, output: null, up: null, down: null };

export interface LoraLayerContext {
  device: GpuDevice;
  spec: ModelSpec;
  arena: Arena;
  loras: GpuLoras;
}

/** The product without its activation, the adapters, the activation. Rows without an adapter keep their bits. */
export class AdaptedUp {
  /** Stores its sums. */
  readonly product: Product;
  readonly #site: LoraSite;
  readonly #activation: (numTokens: number) => Dispatch;

  private constructor(product: Product, site: LoraSite, activation: (numTokens: number) => Dispatch) {
    this.product = product;
    this.#site = site;
    this.#activation = activation;
  }

  static async bind(
    { device, spec, arena, loras }: LoraLayerContext,
    { ffnGate, ffnUp }: LayerTensors,
    up: Product,
  ): Promise<AdaptedUp | null> {
    const places = ffnGate === null ? stacked([ffnUp]) : interleaved([ffnGate, ffnUp]);
    if (!loras.adapts(places)) return null;
    const width = places.length * spec.ffnDim;
    const sums = loras.sums(width);
    const site = await loras.bind({ x: arena.normed, y: sums, width, places });
    const shape = { n: width, epilogue: ffnGate === null ? "gelu-tanh-single" : spec.activation } as const;
    const kernel = await device.bind(activate(shape), { x: sums, y: arena.inner });
    const activation = (numTokens: number) => ({ kernel, workgroups: activateWorkgroups(shape, numTokens) });
    return new AdaptedUp(up.stored(sums), site!, activation);
  }

  dispatches(numTokens: number, numItems: number): Dispatch[] {
    return [this.product.dispatch(numTokens), ...this.#site(numItems), this.#activation(numTokens)];
  }
}

/** @param up the layer's product of gate and up, with its activation */
export async function bindLayerLoras(context: LoraLayerContext, layer: LayerTensors, up: Product): Promise<LayerLoras> {
  const { spec, arena, loras } = context;
  const { dModel, headDim, numHeads, numKvHeads } = spec;
  const onto = (role: RoleTensor, x: GPUBuffer, postNorm: RoleTensor | null) =>
    loras.bind({ x, y: postNorm === null ? arena.stream : arena.added, width: dModel, places: stacked([role]) });
  return {
    qkv: await loras.bind({
      x: arena.normed,
      y: arena.qkv,
      width: (numHeads + 2 * numKvHeads) * headDim,
      places: stacked([layer.attnQ, layer.attnK, layer.attnV]),
    }),
    output: await onto(layer.attnOutput, arena.attended, layer.attnPostNorm),
    up: await AdaptedUp.bind(context, layer, up),
    down: await onto(layer.ffnDown, arena.inner, layer.ffnPostNorm),
  };
}

/** Results one after another, as `WeightLoader.matrix` has the rows. */
function stacked(roles: readonly RoleTensor[]): LoraPlace[] {
  let firstColumn = 0;
  return roles.map((role) => {
    const n = role.dims[1]!;
    const place = { role, part: { n, firstColumn, columnStep: 1 } };
    firstColumn += n;
    return place;
  });
}

function interleaved(roles: readonly RoleTensor[]): LoraPlace[] {
  return roles.map((role, i) => ({ role, part: { n: role.dims[1]!, firstColumn: i, columnStep: roles.length } }));
}
