"""Trains the network on the corpus. Writes checkpoints and resumes from them.

The schedule is warm-up, constant, linear decay: the decay can start whenever time runs out (resume with a smaller
--num-steps), which fits a machine whose speed nobody knows in advance.
"""

import argparse
import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from demo import batches, model, optimizer
from demo.content import HOME


def schedule(step: int, num_steps: int, warmup: int, decay_share: float) -> float:
    decay_start = num_steps * (1 - decay_share)
    if step < warmup:
        return (step + 1) / warmup
    if step < decay_start:
        return 1.0
    return max(0.02, (num_steps - step) / (num_steps - decay_start))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def train_step(config, rates, params, state, tokens, segments, learn, scale, step):
    loss, grads = jax.value_and_grad(partial(model.loss_fn, config))(params, tokens, segments, learn)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    clip = jnp.minimum(1.0, 1.0 / (norm + 1e-9))
    grads = {name: grad * clip for name, grad in grads.items()}
    params, state = optimizer.update(rates, params, state, grads, scale, step)
    return params, state, loss


def save(path: Path, params, state, progress: dict[str, float]) -> None:
    """Atomic, so that a killed run never leaves half a checkpoint."""
    arrays = {f"p.{k}": np.asarray(v) for k, v in params.items()} | {f"s.{k}": np.asarray(v) for k, v in state.items()}
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, progress=json.dumps(progress), **arrays)
    temporary.replace(path)


def load(path: Path):
    data = np.load(path)
    params = {k[2:]: jnp.asarray(data[k]) for k in data.files if k.startswith("p.")}
    state = {k[2:]: jnp.asarray(data[k]) for k in data.files if k.startswith("s.")}
    return params, state, json.loads(str(data["progress"]))


def batch_stream(conversations, tokens_per_batch: int, seed: int, skip: int):
    """Endless batches in an order that depends on the seed only, so that a resumed run goes on where it stopped."""
    number = 0
    for epoch in range(1_000_000):
        for batch in batches.epoch(conversations, tokens_per_batch, np.random.default_rng((seed, epoch))):
            number += 1
            if number > skip:
                yield batch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=HOME / "build" / "corpus.jsonl", help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, default=HOME / "build" / "tokenizer.json", help="default: %(default)s")
    parser.add_argument("--checkpoint", type=Path, default=HOME / "build" / "checkpoint.npz", help="default: %(default)s")
    parser.add_argument("--num-steps", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--tokens-per-batch", type=int, default=4096, help="default: %(default)s")
    parser.add_argument("--warmup", type=int, default=40, help="steps (default: %(default)s)")
    parser.add_argument("--decay-share", type=float, default=0.4, help="part of all steps (default: %(default)s)")
    parser.add_argument("--max-minutes", type=float, default=1e9, help="stop early and save (default: no limit)")
    parser.add_argument("--save-every", type=int, default=100, help="steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config, rates = model.Config(), optimizer.Rates()
    conversations = batches.encode_corpus(args.corpus, Tokenizer.from_file(str(args.tokenizer)))
    if args.checkpoint.exists():
        params, state, progress = load(args.checkpoint)
    else:
        params = model.init_params(config, jax.random.key(args.seed))
        state, progress = optimizer.init_state(params), {"step": 0, "tokens": 0, "seconds": 0.0, "loss": 0.0}
    print(f"{model.num_parameters(params)} parameters {asdict(config)}; starting at step {progress['step']}", flush=True)

    stream = batch_stream(conversations, args.tokens_per_batch, args.seed, int(progress["step"]))
    started, before, smooth = time.monotonic(), progress["seconds"], progress["loss"] or None
    bar = tqdm(range(int(progress["step"]), args.num_steps), initial=int(progress["step"]), total=args.num_steps, mininterval=10)
    for step in bar:
        batch = next(stream)
        scale = schedule(step, args.num_steps, args.warmup, args.decay_share)
        params, state, loss = train_step(config, rates, params, state, batch.tokens, batch.segments, batch.learn, scale, step)
        value = float(loss)
        smooth = value if smooth is None else 0.97 * smooth + 0.03 * value
        progress = {"step": step + 1, "tokens": progress["tokens"] + batch.num_tokens, "loss": smooth,
                    "seconds": before + time.monotonic() - started}
        bar.set_postfix(loss=f"{smooth:.4f}", tokens=f"{progress['tokens'] / 1e6:.2f}M", refresh=False)
        out_of_time = time.monotonic() - started > 60 * args.max_minutes
        if (step + 1) % args.save_every == 0 or step + 1 == args.num_steps or out_of_time:
            save(args.checkpoint, params, state, progress)
            print(json.dumps({k: round(v, 4) for k, v in progress.items()}), flush=True)
        if out_of_time:
            break


if __name__ == "__main__":
    main()
