"""Networks with drawn weights, in which every layer matters and logits are of order one."""

from __future__ import annotations

import jax
import numpy as np
from flax import nnx

from geounet.card import Architecture, LandClass, ModelCard
from geounet.unet import UNet, reach

COLOURS = ("#b0a080", "#1f78b4", "#33a02c", "#e31a1c", "#ff7f00", "#6a3d9a")
NAMES = ("blue", "green", "red", "nir", "swir1", "swir2", "cirrus", "coastal")


OPTIONS = tuple(
    {"block": block, "attention": attention, "dilations": dilations}
    for block in ("plain", "residual", "inverted_bottleneck")
    for attention in (False, True)
    for dilations in ((), (2, 1))
)
"""Every kind of network: blocks × attention gates × a dilated bottleneck."""
EVERYTHING = tuple(o for o in OPTIONS if o["attention"] and o["dilations"])
"""One per kind of block, with all that can be added."""


def name_of(options: dict) -> str:
    added = ["attention"] * options["attention"] + ["dilations"] * bool(options["dilations"])
    return " + ".join([options["block"], *added])


def architecture(
    depth: int = 2, base_filters: int = 4, bands: int = 3, outputs: int = 3, **options
):
    return Architecture(
        bands=bands,
        outputs=outputs,
        depth=depth,
        base_filters=base_filters,
        batch_norm=False,
        dropout=0.0,
        **options,
    )


def random_net(arch: Architecture, seed: int = 0) -> UNet:
    """Weights and biases drawn, biases not zero; in evaluation mode.

    Drawn on the host: XLA takes half a minute to compile JAX's draws for the shapes of one network.
    """
    network = nnx.eval_shape(lambda: UNet(arch, nnx.Rngs(0)))
    rng = np.random.default_rng(seed)
    nnx.update(network, jax.tree.map(lambda x: _drawn(rng, x.shape), nnx.state(network, nnx.Param)))
    nnx.update(network, jax.tree.map(_unused, nnx.state(network, nnx.RngState)))
    network.eval()
    return network


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel before a ReLU keeps the spread that it sees (He); what is added has one of 0.3."""
    spread = 0.3 if len(shape) == 1 else (2 / np.prod(shape[:-1])) ** 0.5
    return rng.normal(0, spread, shape).astype(np.float32)


def _unused(state: jax.ShapeDtypeStruct) -> jax.Array:
    """The state of dropout, which draws nothing in evaluation."""
    is_key = jax.dtypes.issubdtype(state.dtype, jax.dtypes.prng_key)
    return jax.random.key(0) if is_key else jax.numpy.zeros(state.shape, state.dtype)


def net_with_statistics(arch: Architecture, seed: int = 0) -> UNet:
    """With batch norm whose scale, bias and running statistics are drawn; in evaluation mode."""
    network = random_net(arch.model_copy(update={"batch_norm": True}), seed)
    state = nnx.state(network, nnx.BatchStat)
    rng = np.random.default_rng(seed + 1)
    drawn = jax.tree.map(lambda x: np.float32(rng.uniform(0.5, 2, x.shape)), state)
    nnx.update(network, drawn)
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
