"""Weights of segmentation_models.pytorch's U-Nets, as safetensors, made into a model of geounet.

Read are those of ``Unet`` with the encoders resnet18 and resnet34 and the usual decoder. Every
tensor is accounted for by name and shape before any is used; a layer that we do not have is
refused by its name. Batch norm goes into its convolution. No PyTorch is needed, and no pickle read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from geounet.blocks import Conv
from geounet.card import ModelCard, ResNetArchitecture
from geounet.errors import ModelError, OutputError, SettingsError
from geounet.model_file import save_model
from geounet.resnet_unet import ResNetUNet, StridedConv, reach
from geounet.yaml_file import read_mapping

SUPPORTED = (
    "only segmentation_models.pytorch's Unet over resnet18 or resnet34 with five levels, batch "
    "norm and no attention is read"
)
BATCH_NORM_EPSILON = 1e-5
"""PyTorch's default, which no file states."""
FROM_THE_WEIGHTS = ("architecture", "reach", "sha256", "schema_version")
_STEM = "encoder.conv1.weight"
_NORM = ("weight", "bias", "running_mean", "running_var")
Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """One convolution: what it is called here and there, and the batch norm that follows it."""

    ours: str
    conv: str
    norm: str | None

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all its tensors there."""
        after = [f"{self.norm}.{part}" for part in _NORM] if self.norm else [f"{self.conv}.bias"]
        return (f"{self.conv}.weight", *after)


def import_weights(weights: Path, card: Path, out: Path, overwrite: bool = False) -> ModelCard:
    """Write the model of ``weights`` and of a card's fields; returns its card.

    Args:
        weights: a ``.safetensors`` state dict; a prefix before all names, such as ``model.``, goes.
        card: YAML with the fields of a `ModelCard` that no weights tell: name, bands, mean, std,
            classes, and what else is known.
        out: the model to write, in float32.
        overwrite: replace ``out``.

    Raises:
        SettingsError: naming the card's file and field.
        ModelError: naming the file and the first layer that is unknown, missing or misshapen.
        OutputError: if ``out`` exists or cannot be written.
    """
    if out.suffix != ".safetensors":
        raise OutputError(f"{out}: a model is a .safetensors file; name it so")
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: exists; name another, or add --overwrite")
    fields = _fields_of(card)
    _refuse_other_repetition(weights)
    architecture, tensors = _read(weights)
    network = network_of(architecture, tensors)
    computed = {"architecture": architecture, "reach": reach(architecture)}
    try:
        told = ModelCard.model_validate(fields | computed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{card}: {place + ': ' if place else ''}{text}") from error
    return save_model(out, network, told, "float32")


def architecture_of(shapes: Shapes) -> ResNetArchitecture:
    """The network that a state dict's names and shapes belong to; nothing is checked here.

    What is missing counts as one, and is named when the shapes are compared.
    """
    blocks = tuple(
        len({m[1] for name in shapes if (m := re.match(rf"encoder\.layer{k}\.(\d+)\.", name))}) or 1
        for k in range(1, 5)
    )
    decoder = tuple(_out(shapes, f"decoder.blocks.{k}.conv1.0.weight") for k in range(5))
    head = _out(shapes, "segmentation_head.0.weight")
    stem = shapes[_STEM]
    fields = {"bands": stem[1], "outputs": head, "encoder_width": stem[0]}
    return ResNetArchitecture.model_validate(fields | {"blocks": blocks, "decoder": decoder})


def network_of(architecture: ResNetArchitecture, tensors: Tensors) -> ResNetUNet:
    """The network with these weights, batch norm folded; every tensor must be there."""
    network = _abstract(architecture)
    for layer, module in _modules(network, architecture):
        kernel, bias = _folded(layer, tensors)
        # (out, in, row, col) there, (row, col, in, out) here.
        module.kernel = nnx.Param(jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32))
        module.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
    network.eval()
    return network


def layers_of(architecture: ResNetArchitecture) -> Iterator[Layer]:
    """Every convolution of the network, with its names."""
    yield Layer("stem", "encoder.conv1", "encoder.bn1")
    for stage, blocks in enumerate(architecture.blocks):
        for k in range(blocks):
            ours, theirs = f"stages.{stage}.{k}", f"encoder.layer{stage + 1}.{k}"
            yield Layer(f"{ours}.conv1", f"{theirs}.conv1", f"{theirs}.bn1")
            yield Layer(f"{ours}.conv2", f"{theirs}.conv2", f"{theirs}.bn2")
            if stage and not k:
                names = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                yield Layer(f"{ours}.shortcut", *names)
    for k in range(len(architecture.decoder)):
        for part in ("conv1", "conv2"):
            theirs = f"decoder.blocks.{k}.{part}"
            yield Layer(f"decoder.{k}.{part}", f"{theirs}.0", f"{theirs}.1")
    yield Layer("head", "segmentation_head.0", None)


def _folded(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
    kernel = tensors[f"{layer.conv}.weight"].astype(np.float64)
    if layer.norm is None:
        return kernel, tensors[f"{layer.conv}.bias"]
    gain, shift, mean, variance = (
        tensors[f"{layer.norm}.{part}"].astype(np.float64) for part in _NORM
    )
    gain = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
    return kernel * gain[:, None, None, None], shift - mean * gain


def _read(path: Path) -> tuple[ResNetArchitecture, Tensors]:
    """The network's architecture and its tensors, by their names without a prefix."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            prefix = next((n.removesuffix(_STEM) for n in names if n.endswith(_STEM)), None)
            if prefix is None:
                raise ModelError(f"{path}: {_strange(names)}; {SUPPORTED}")
            parts = {n.removeprefix(prefix): file.get_slice(n) for n in names}
            shapes = {n: tuple(part.get_shape()) for n, part in parts.items()}
            architecture = _checked(path, shapes, {n: p.get_dtype() for n, p in parts.items()})
            wanted = {t for layer in layers_of(architecture) for t in layer.tensors}
            tensors = {n: file.get_tensor(prefix + n) for n in sorted(wanted)}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable .safetensors file ({error})") from error
    _check_numbers(path, tensors)
    return architecture, tensors


def _check_numbers(path: Path, tensors: Tensors) -> None:
    """Every number finite, and no variance below 0, or folding would make others of them."""
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ModelError(f"{path}: {name} has values that are not finite; export it again")
        if name.endswith("running_var") and (values < 0).any():
            raise ModelError(f"{path}: {name} has variances below 0; export it again")


def _checked(path: Path, shapes: Shapes, dtypes: Mapping[str, str]) -> ResNetArchitecture:
    """The architecture, if every tensor is one of its own, of its shape, and of floats."""
    try:
        architecture = architecture_of(shapes)
    except (ValidationError, IndexError) as error:
        raise ModelError(f"{path}: {_STEM} is no layer of ours; {SUPPORTED}") from error
    expected = shapes_of(architecture)
    unknown = [n for n in shapes if n not in expected and not n.endswith("num_batches_tracked")]
    if unknown:
        first = min(unknown, key=_place_of)
        raise ModelError(f"{path}: {first} belongs to no layer that we have; {SUPPORTED}")
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise ModelError(f"{path}: lacks {missing[0]}; {SUPPORTED}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ModelError(f"{path}: {name} has shape {shapes[name]}, not {shape}; {SUPPORTED}")
        if dtypes[name] not in ("F16", "F32", "F64"):
            raise ModelError(
                f"{path}: {name} is {dtypes[name]}; save the weights as float32 and import again"
            )
    return architecture


def shapes_of(architecture: ResNetArchitecture) -> dict[str, tuple[int, ...]]:
    """Name there → shape of every tensor that the network needs, in the order of its layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, module in _modules(_abstract(architecture), architecture):
        rows, cols, bands, out = module.kernel.shape
        weight, *rest = layer.tensors
        shapes |= {weight: (out, bands, rows, cols)} | dict.fromkeys(rest, (out,))
    return shapes


def _abstract(architecture: ResNetArchitecture) -> ResNetUNet:
    return nnx.eval_shape(lambda: ResNetUNet(architecture, nnx.Rngs(0)))


def _modules(
    network: ResNetUNet, architecture: ResNetArchitecture
) -> Iterator[tuple[Layer, Conv | StridedConv]]:
    found = {".".join(map(str, path)): module for path, module in nnx.iter_modules(network)}
    for layer in layers_of(architecture):
        module = found[layer.ours]
        assert isinstance(module, Conv | StridedConv)
        yield layer, module


def _refuse_other_repetition(weights: Path) -> None:
    """The library saves its options beside the weights; no tensor tells how maps are enlarged."""
    path = weights.with_name("config.json")
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    how = options.get("decoder_interpolation", "nearest") if isinstance(options, dict) else None
    if how not in (None, "nearest"):
        raise ModelError(f"{path}: decoder_interpolation is {how}, not nearest; {SUPPORTED}")


def _fields_of(path: Path) -> dict[str, Any]:
    fields = read_mapping(path, "card, as in docs/import.md,", SettingsError)
    told = [name for name in FROM_THE_WEIGHTS if name in fields]
    if told:
        raise SettingsError(f"{path}: {told[0]}: follows from the weights; leave it out")
    return fields


def _out(shapes: Shapes, name: str) -> int:
    return shapes.get(name, (1,))[0]


def _strange(names: Sequence[str]) -> str:
    """The first layer of a file that lacks our own first one."""
    if not names:
        return "holds no tensor"
    first = min(names, key=lambda name: _place_of(name[max(name.find("encoder."), 0) :]))
    return f"{first} belongs to no layer that we have"


def _place_of(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Sorts names as the network runs: encoder, decoder, head; layer 10 after layer 2."""
    order = ("encoder", "decoder", "segmentation_head")
    first = name.split(".")[0]
    place = order.index(first) if first in order else len(order)
    parts = re.split(r"(\d+)", name)
    return place, [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
