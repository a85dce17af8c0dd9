"""Networks with drawn weights, in which every layer matters and logits are of order one."""

from __future__ import annotations

import jax
import numpy as np
from flax import nnx

from geounet.card import Architecture, LandClass, ModelCard
from geounet.unet import UNet, reach

COLOURS = ("#b0a080", "#1f78b4", "#33a02c", "#e31a1c", "#ff7f00", "#6a3d9a")
NAMES = ("blue", "green", "red", "nir", "swir1", "swir2", "cirrus", "coastal")


def architecture(depth: int = 2, base_filters: int = 4, bands: int = 3, outputs: int = 3):
    return Architecture(
        bands=bands,
        outputs=outputs,
        depth=depth,
        base_filters=base_filters,
        batch_norm=False,
        dropout=0.0,
    )


def random_net(arch: Architecture, seed: int = 0) -> UNet:
    """Weights and biases drawn, biases not zero; in evaluation mode."""
    network = UNet(arch, nnx.Rngs(seed))
    state = nnx.state(network, nnx.Param)
    rng = np.random.default_rng(seed)
    leaves, tree = jax.tree.flatten(state)
    drawn = [
        leaf if leaf.ndim > 1 else np.float32(rng.normal(0, 0.3, leaf.shape)) for leaf in leaves
    ]
    nnx.update(network, jax.tree.unflatten(tree, drawn))
    network.eval()
    return network


def card_of(arch: Architecture, **changes) -> ModelCard:
    classes = max(2, arch.outputs)
    fields = {
        "name": "drawn",
        "architecture": arch,
        "bands": NAMES[: arch.bands],
        "mean": (0.1,) * arch.bands,
        "std": (0.05,) * arch.bands,
        "scale": 1e-4,
        "classes": tuple(
            LandClass(value=3 * k, name=f"class {k}", colour=COLOURS[k]) for k in range(classes)
        ),
        "reach": reach(arch),
    }
    return ModelCard(**{**fields, **changes})
