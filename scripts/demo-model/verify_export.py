"""Proves the export: the JAX network and the numpy engine on an F32 GGUF must say the same, word for word.

Both decode greedily. They share no code but the chat template, so a wrong transpose, rope convention, tokenizer or
norm would show at once. Also checks that the tokenizer rebuilt from GGUF metadata equals the trained one.
"""

import argparse
import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from demo.chatml import IM_END, render
from demo.content import HOME
from demo.engine import Engine
from demo.model import Config, Params, hidden_states
from export_gguf import write_gguf

PROMPTS = (
    "hi", "What are you?", "What is the KV cache?", "whats paged attention", "Explain GPTQ simply.",
    "tell me a story about a red dragon", "Tell me a story about a florpnak", "What is 3 + 4?", "prefill vs decode",
    "Grüße aus Köln! 你好 🙂",
)
MAX_TOKENS = 120
PADDED_LENGTH = 256


def greedy_in_jax(config: Config, params: Params, tokenizer: Tokenizer, prompt: str) -> str:
    """Greedy text by recomputing the whole (padded) row at every step: slow, but as plain as can be."""
    @jax.jit
    def next_token(tokens: jax.Array, length: jax.Array) -> jax.Array:
        states = hidden_states(config, params, tokens, jnp.ones_like(tokens))
        return jnp.argmax(states[0, length - 1] @ params["token_embd"].T)

    ids = tokenizer.encode(prompt).ids
    start, end = len(ids), tokenizer.token_to_id(IM_END)
    while len(ids) - start < MAX_TOKENS and len(ids) < PADDED_LENGTH:
        row = np.zeros((1, PADDED_LENGTH), np.int32)
        row[0, : len(ids)] = ids
        token = int(next_token(row, len(ids)))
        if token == end:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])


def count_tokenizer_differences(first: Tokenizer, second: Tokenizer, corpus: Path, num_lines: int) -> int:
    lines = corpus.read_text(encoding="utf-8").splitlines()[:num_lines]
    texts = [turn[role] for line in lines for turn in json.loads(line)["turns"] for role in ("user", "assistant")]
    return sum(a.ids != b.ids for a, b in zip(first.encode_batch(texts), second.encode_batch(texts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=HOME / "build" / "checkpoint.npz", help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, default=HOME / "build" / "tokenizer.json", help="default: %(default)s")
    parser.add_argument("--corpus", type=Path, default=HOME / "build" / "corpus.jsonl", help="default: %(default)s")
    args = parser.parse_args()
    data = np.load(args.checkpoint)
    arrays = {key[2:]: data[key] for key in data.files if key.startswith("p.")}
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f32.gguf"
        write_gguf(path, arrays, args.tokenizer, "f32")
        engine = Engine(path)
    differences = count_tokenizer_differences(tokenizer, engine.tokenizer, args.corpus, 3000)
    print(f"tokenizer: {differences} of the first 3000 conversations' texts differ")
    params, config = {name: jnp.asarray(value) for name, value in arrays.items()}, Config()
    wrong = 0
    for text in PROMPTS:
        prompt = render([{"role": "user", "content": text}], add_generation_prompt=True)
        in_jax, (in_numpy, _) = greedy_in_jax(config, params, tokenizer, prompt), engine.generate(prompt, MAX_TOKENS)
        wrong += in_jax != in_numpy
        print(f"{'same' if in_jax == in_numpy else 'DIFFERENT'}: {text} -> {in_numpy}")
        if in_jax != in_numpy:
            print(f"  in JAX: {in_jax}")
    if wrong or differences:
        raise SystemExit(f"{wrong} texts and {differences} tokenizations differ")


if __name__ == "__main__":
    main()
