"""Muon for the matrices inside the layers, Adam for everything else.

Muon (Jordan et al. 2024) orthogonalizes the momentum of each matrix by a Newton-Schulz iteration. On this model it
needs clearly fewer tokens than AdamW for the same loss, and tokens are what a small CPU has least of.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .model import Params

MUON_NAMES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration, from the source above
NUM_ITERATIONS = 5


@dataclass(frozen=True)
class Rates:
    muon: float = 0.02
    adam: float = 0.004
    muon_momentum: float = 0.95
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    weight_decay: float = 0.02
    adam_eps: float = 1e-10


def init_state(params: Params) -> Params:
    state: Params = {}
    for name, value in params.items():
        state[f"m.{name}"] = jnp.zeros_like(value)
        if name not in MUON_NAMES:
            state[f"v.{name}"] = jnp.zeros_like(value)
    return state


def orthogonalize(matrix: jax.Array) -> jax.Array:
    """Nearest (semi-)orthogonal matrices of a stack [layers, rows, cols], approximately."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = jnp.swapaxes(matrix, -1, -2) if tall else matrix
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ jnp.swapaxes(x, -1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return jnp.swapaxes(x, -1, -2) if tall else x


def update(rates: Rates, params: Params, state: Params, grads: Params, scale: jax.Array, step: jax.Array) -> tuple[Params, Params]:
    """One step; `scale` is the schedule's factor in 0..1 and `step` counts from 0."""
    new_params: Params = {}
    new_state: Params = {}
    for name, value in params.items():
        grad = grads[name]
        if name in MUON_NAMES:
            momentum = rates.muon_momentum * state[f"m.{name}"] + grad
            direction = orthogonalize(grad + rates.muon_momentum * momentum)
            rows, cols = value.shape[-2:]
            rate = scale * rates.muon * max(1.0, cols / rows) ** 0.5
            new_state[f"m.{name}"] = momentum
            new_params[name] = value * (1 - scale * rates.muon * rates.weight_decay) - rate * direction
            continue
        first = rates.adam_beta1 * state[f"m.{name}"] + (1 - rates.adam_beta1) * grad
        second = rates.adam_beta2 * state[f"v.{name}"] + (1 - rates.adam_beta2) * grad * grad
        corrected = (first / (1 - rates.adam_beta1 ** (step + 1))) / (
            jnp.sqrt(second / (1 - rates.adam_beta2 ** (step + 1))) + rates.adam_eps)
        new_state[f"m.{name}"], new_state[f"v.{name}"] = first, second
        new_params[name] = value - scale * rates.adam * corrected
    return new_params, new_state
