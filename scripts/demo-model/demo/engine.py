"""A second, independent implementation: reads the GGUF and runs it in numpy with a KV cache, one token at a time.

It shares nothing with the JAX model but the file, so equal greedy text proves exporter and network against each other.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def field(reader: gguf.GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def tokenizer_from_gguf(reader: gguf.GGUFReader) -> Tokenizer:
    """Rebuilds the tokenizer from the file's metadata alone."""
    tokens, types = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control])
    return tokenizer


class Engine:
    """Greedy generation from a GGUF file of the llama architecture."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.tokenizer = tokenizer_from_gguf(reader)
        self.eos = field(reader, "tokenizer.ggml.eos_token_id")
        self.context_length = field(reader, "llama.context_length")
        self.num_layers = field(reader, "llama.block_count")
        self.num_heads = field(reader, "llama.attention.head_count")
        self.num_kv_heads = field(reader, "llama.attention.head_count_kv")
        self.d_head = field(reader, "llama.rope.dimension_count")
        self.eps = np.float32(field(reader, "llama.attention.layer_norm_rms_epsilon"))
        base = field(reader, "llama.rope.freq_base")
        angles = np.arange(self.context_length)[:, None] * base ** (-np.arange(0, self.d_head, 2) / self.d_head)
        self.rotations = np.exp(1j * angles).astype(np.complex64)
        self.weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weights[name]

    def rotate(self, x: np.ndarray, start: int) -> np.ndarray:
        """RoPE as complex multiplication of neighbouring pairs; x is [time, heads, d_head]."""
        pairs = np.ascontiguousarray(x).view(np.complex64) * self.rotations[start : start + len(x), None, :]
        return pairs.view(np.float32)

    def forward(self, ids: list[int], start: int, cache: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Logits [vocab] after the last of `ids`, which stand at positions start…; the cache is extended in place."""
        w, time = self.weights, len(ids)
        x = w["token_embd.weight"][ids]
        visible = np.arange(start + time)[None, :] <= np.arange(start, start + time)[:, None]
        for layer in range(self.num_layers):
            p = f"blk.{layer}."
            h = self.norm(x, p + "attn_norm.weight")
            q = self.rotate((h @ w[p + "attn_q.weight"].T).reshape(time, self.num_heads, self.d_head), start)
            keys, values = cache[layer]
            keys[start : start + time] = self.rotate((h @ w[p + "attn_k.weight"].T).reshape(time, self.num_kv_heads, -1), start)
            values[start : start + time] = (h @ w[p + "attn_v.weight"].T).reshape(time, self.num_kv_heads, -1)
            q = q.reshape(time, self.num_kv_heads, -1, self.d_head)
            scores = np.einsum("tkgd,skd->kgts", q, keys[: start + time]) * np.float32(self.d_head**-0.5)
            scores = np.where(visible, scores, -np.inf)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("kgts,skd->tkgd", scores / scores.sum(-1, keepdims=True), values[: start + time])
            x = x + mixed.reshape(time, -1) @ w[p + "attn_output.weight"].T
            h = self.norm(x, p + "ffn_norm.weight")
            gate, up = h @ w[p + "ffn_gate.weight"].T, h @ w[p + "ffn_up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[p + "ffn_down.weight"].T
        return self.norm(x[-1], "output_norm.weight") @ w["token_embd.weight"].T

    def generate(self, prompt: str, max_tokens: int) -> tuple[str, bool]:
        """Greedy text and whether it ended by itself with <|im_end|>."""
        ids = self.tokenizer.encode(prompt).ids
        shape = (self.context_length, self.num_kv_heads, self.d_head)
        cache = [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in range(self.num_layers)]
        logits, produced = self.forward(ids, 0, cache), []
        while len(produced) < max_tokens and len(ids) + len(produced) < self.context_length:
            token = int(np.argmax(logits))
            if token == self.eos:
                return self.tokenizer.decode(produced), True
            produced.append(token)
            logits = self.forward([token], len(ids) + len(produced) - 1, cache)
        return self.tokenizer.decode(produced), False
