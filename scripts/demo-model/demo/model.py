"""The network in JAX: a llama-architecture decoder as GGUF readers expect it.

RMSNorm, RoPE on consecutive pairs (2i, 2i+1), grouped-query attention, SwiGLU, tied head. Matrices are stored as
[in, out] with a leading layer axis; the exporter turns them into GGUF's [out, in].
Sources: Touvron et al. 2023 (LLaMA), Su et al. 2021 (RoPE), Ainslie et al. 2023 (GQA), Shazeer 2020 (SwiGLU).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class Config:
    vocab_size: int = 2048
    d_model: int = 192
    num_layers: int = 5
    num_heads: int = 6
    num_kv_heads: int = 2
    d_head: int = 32
    d_ff: int = 512
    context_length: int = 1024
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5


def init_params(config: Config, key: jax.Array) -> Params:
    d, layers = config.d_model, config.num_layers
    shapes = {
        "attn_q": (d, config.num_heads * config.d_head),
        "attn_k": (d, config.num_kv_heads * config.d_head),
        "attn_v": (d, config.num_kv_heads * config.d_head),
        "attn_output": (config.num_heads * config.d_head, d),
        "ffn_gate": (d, config.d_ff),
        "ffn_up": (d, config.d_ff),
        "ffn_down": (config.d_ff, d),
    }
    keys = jax.random.split(key, len(shapes) + 1)
    params = {"token_embd": 0.05 * jax.random.normal(keys[0], (config.vocab_size, d)), "output_norm": jnp.ones(d)}
    for (name, (rows, cols)), subkey in zip(shapes.items(), keys[1:]):
        residual = (2 * layers) ** -0.5 if name in ("attn_output", "ffn_down") else 1.0
        params[name] = residual * rows**-0.5 * jax.random.normal(subkey, (layers, rows, cols))
    params["attn_norm"] = jnp.ones((layers, d))
    params["ffn_norm"] = jnp.ones((layers, d))
    return params


def num_parameters(params: Params) -> int:
    return sum(value.size for value in params.values())


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope_tables(config: Config, length: int) -> tuple[jax.Array, jax.Array]:
    """cos and sin of shape [length, 1, d_head], each angle standing twice, once for either half of its pair."""
    frequencies = config.rope_base ** (-jnp.arange(0, config.d_head, 2) / config.d_head)
    angles = jnp.repeat(jnp.arange(length)[:, None] * frequencies[None, :], 2, axis=-1)[:, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def quarter_turn(d_head: int) -> np.ndarray:
    """The matrix that turns every pair (a, b) into (-b, a); a small product is faster on CPUs than strided slices."""
    turn = np.zeros((d_head, d_head), np.float32)
    for even in range(0, d_head, 2):
        turn[even + 1, even] = -1.0
        turn[even, even + 1] = 1.0
    return turn


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """RoPE on [batch, time, heads, d_head]; the pairs are neighbours (2i, 2i + 1)."""
    return x * cos + (x @ quarter_turn(x.shape[-1])) * sin


def attention(config: Config, layer: Params, x: jax.Array, bias: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Grouped-query attention on [batch, time, d_model]; `bias` [batch, 1, 1, time, time] is 0 or very negative."""
    batch, time, _ = x.shape
    heads, kv_heads, d_head = config.num_heads, config.num_kv_heads, config.d_head
    groups = heads // kv_heads
    q = rotate((x @ layer["attn_q"]).reshape(batch, time, heads, d_head), cos, sin) * d_head**-0.5
    k = rotate((x @ layer["attn_k"]).reshape(batch, time, kv_heads, d_head), cos, sin)
    v = (x @ layer["attn_v"]).reshape(batch, time, kv_heads, d_head)
    q = q.transpose(0, 2, 1, 3).reshape(batch, kv_heads, groups * time, d_head)
    scores = (q @ k.transpose(0, 2, 3, 1)).reshape(batch, kv_heads, groups, time, time) + bias
    weights = jax.nn.softmax(scores, axis=-1).reshape(batch, kv_heads, groups * time, time)
    mixed = (weights @ v.transpose(0, 2, 1, 3)).reshape(batch, heads, time, d_head)
    return mixed.transpose(0, 2, 1, 3).reshape(batch, time, -1) @ layer["attn_output"]


def hidden_states(config: Config, params: Params, tokens: jax.Array, segments: jax.Array) -> jax.Array:
    """Final normalized states [batch, time, d_model]; attention stays inside a segment (one conversation)."""
    time = tokens.shape[1]
    visible = jnp.tril(jnp.ones((time, time), bool))[None] & (segments[:, :, None] == segments[:, None, :])
    bias = jnp.where(visible, 0.0, -1e9)[:, None, None]
    cos, sin = rope_tables(config, time)
    x = params["token_embd"][tokens]
    for index in range(config.num_layers):
        layer = {name: value[index] for name, value in params.items() if name.startswith(("attn_", "ffn_"))}
        x = x + attention(config, layer, rms_norm(x, layer["attn_norm"], config.norm_eps), bias, cos, sin)
        h = rms_norm(x, layer["ffn_norm"], config.norm_eps)
        x = x + (jax.nn.silu(h @ layer["ffn_gate"]) * (h @ layer["ffn_up"])) @ layer["ffn_down"]
    return rms_norm(x, params["output_norm"], config.norm_eps)


def loss_fn(config: Config, params: Params, tokens: jax.Array, segments: jax.Array, learn: jax.Array) -> jax.Array:
    """Mean cross entropy in nats over the learned tokens; `learn[b, t]` says that tokens[b, t] must be predicted."""
    states = hidden_states(config, params, tokens[:, :-1], segments[:, :-1])
    logits = states @ params["token_embd"].T
    targets, weight = tokens[:, 1:], learn[:, 1:].astype(jnp.float32)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.sum(losses * weight) / jnp.maximum(jnp.sum(weight), 1.0)
