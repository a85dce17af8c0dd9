"""Which devices share the work of a training step, and what lies where.

Every local device holds the whole learner and a part of each batch; XLA adds what the parts found
(https://docs.jax.dev: sharded computation). With one device nothing is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from geounet.errors import SettingsError

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Devices:
    """Where to put arrays: ``spread`` cuts their first axis, ``shared`` copies them whole."""

    spread: NamedSharding
    shared: NamedSharding

    @property
    def count(self) -> int:
        """How many devices there are."""
        return self.spread.num_devices

    def share(self, tree: Tree) -> Tree:
        """Every device gets all of it."""
        return jax.device_put(tree, self.shared)

    def divide(self, tree: Any) -> Any:
        """Every device gets its part of the first axis of arrays of the host."""
        return jax.device_put(tree, self.spread)


def local_devices(batch: int) -> Devices:
    """All local devices, for batches of this size.

    Raises:
        SettingsError: if they cannot share a batch evenly.
    """
    found: Any = np.array(jax.local_devices())
    if batch % len(found):
        raise SettingsError(
            f"batch {batch} cannot be shared evenly by {len(found)} devices; "
            f"the next size is {-(-batch // len(found)) * len(found)}"
        )
    mesh = Mesh(found, ("tile",), axis_types=(AxisType.Auto,))
    return Devices(NamedSharding(mesh, PartitionSpec("tile")), NamedSharding(mesh, PartitionSpec()))
