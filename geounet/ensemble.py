"""Several U-Nets of one architecture that map as one (Lakshminarayanan et al. 2017).

Members differ in their first weights alone, and each learns from its own loss; they share the
batches, the norm by which gradients are clipped, and whether a step is skipped. What one of them
took for water by chance the others did not, so that their mean errs less than each (Simple and
scalable predictive uncertainty estimation using deep ensembles, arXiv:1612.01474). The mean is one
of logits, so that an ensemble has a calibrated temperature as a network has.
"""

from __future__ import annotations

from flax import nnx

from geounet.blocks import Features
from geounet.card import Architecture
from geounet.unet import UNet, fold


class Ensemble(nnx.Module):
    """``architecture.members`` networks: (tile, row, col, band) → their mean logits.

    Time and memory are those of all members, which XLA runs side by side; the reach is that of one,
    so the mean keeps the five rules of exact tiling.
    """

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs, remat: bool = False) -> None:
        self.members = nnx.List(
            UNet(architecture, rngs, remat) for _ in range(architecture.members)
        )

    def each(self, x: Features) -> tuple[Features, ...]:
        """The logits of every member."""
        return tuple(member(x) for member in self.members)

    def __call__(self, x: Features) -> Features:
        first, *others = self.each(x)
        return sum(others, start=first) / len(self.members)


def folded(ensemble: Ensemble, architecture: Architecture) -> tuple[Ensemble, Architecture]:
    """The same function without batch norm, as ``unet.fold`` of each member."""
    parts = [fold(member, architecture) for member in ensemble.members]
    without = parts[0][1]
    plain = nnx.eval_shape(lambda: Ensemble(without, nnx.Rngs(0)))
    plain.members = nnx.List(network for network, _ in parts)
    return plain, without
