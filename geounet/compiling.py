"""How XLA compiles our programs: the same numbers and speed, in half of the compiler's time."""

from __future__ import annotations

import jax

QUICKLY: dict[str, bool] = (
    {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
)
"""Compiler options of the forward and of a training's step.

On a CPU the newer emitters of fused loops take twice as long to compile, and the network and its
step are no faster for it (ARCHITECTURE.md has the figures). Other devices have their own. A later
XLA may not know the option any more.
"""
