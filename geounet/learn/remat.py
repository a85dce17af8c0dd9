"""The step of a training that computes again what it did not keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from inspect import unwrap

import jax

from geounet.compiling import options
from geounet.learn.learner import Learner, Outcome, take_step


@lru_cache(maxsize=2)
def step_of(remat: bool) -> Callable[..., tuple[Learner, Outcome]]:
    """``take_step``, compiled so that ``NetworkSettings.remat`` saves memory where it is asked for.

    ``jax.checkpoint`` parts the forward pass from its repetition by optimisation barriers. XLA's
    CPU backend drops these before it merges equal operations, and so keeps what was to be computed
    again; without that pass the barriers stay, and scratch memory halves (docs/performance.md).
    Other backends keep them anyway.
    """
    if not remat or jax.default_backend() != "cpu":
        return take_step
    return jax.jit(
        unwrap(take_step),
        static_argnums=0,
        donate_argnums=1,
        compiler_options=options() | {"xla_disable_hlo_passes": "cse_barrier_expander"},
    )
