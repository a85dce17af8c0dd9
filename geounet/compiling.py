"""How XLA compiles our programs on a CPU: the same speed, in a fraction of the compiler's time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, Generic, TypeVar

import jax

_T = TypeVar("_T")

Options = dict[str, bool | int | str]

_OF_THIS_XLA: Options = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_experimental_ynn_fusion_type": "",
}
ON_CPU: Options = {
    "xla_backend_optimization_level": 1,
    **(_OF_THIS_XLA if jax.__version_info__ < (0, 11) else {}),
}
"""Compiler options for a CPU.

The time of our programs goes into convolutions and matrix products, which are library calls; what
LLVM's last optimisations and XLA's newer emitters of fused loops do for the rest is not seen in the
speed, and takes most of the compiler's time (`python -m benchmarks.compiling`). XLA 0.10 calls
YNNPACK for most convolutions, where Eigen is faster: that is turned off. A later XLA may not know
these two options any more.
"""


def options() -> Options:
    """Those for the device that there is; other devices than CPUs have their own ways."""
    return ON_CPU if jax.default_backend() == "cpu" else {}


class Compiled(Generic[_T]):
    """``jax.jit`` with these options, chosen at the first call: asking for a device starts JAX."""

    def __init__(self, function: Callable[..., _T], **how: Any) -> None:
        update_wrapper(self, function)
        self._function, self._how = function, how

    @cached_property
    def _program(self) -> Any:
        return jax.jit(self._function, compiler_options=options(), **self._how)

    def __call__(self, *args: Any, **kwargs: Any) -> _T:
        found: _T = self._program(*args, **kwargs)
        return found

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """As that of ``jax.jit``."""
        found: jax.stages.Lowered = self._program.lower(*args, **kwargs)
        return found

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """As that of ``jax.jit``."""
        return self._program.eval_shape(*args, **kwargs)


def compiled(**how: Any) -> Callable[[Callable[..., _T]], Compiled[_T]]:
    """A decorator; ``how`` is as in ``jax.jit``."""
    return lambda function: Compiled(function, **how)
