"""Models as one ``.safetensors`` file: tensors, and the card as canonical JSON in one metadata key.

No pickle anywhere. A file is used only when every tensor that its architecture needs is there, with
the right shape and type, finite, and with the hash that the card gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from geounet.atomic import write_bytes
from geounet.card import SCHEMA_VERSION, AnyArchitecture, ModelCard
from geounet.errors import ModelError
from geounet.networks import Network, build, fold, is_folded, reach
from geounet.small_file import is_file

METADATA_KEY = "geounet"
MAX_CARD_BYTES = 1_000_000
Tensors = dict[str, np.ndarray]
Kept = Literal["float16", "float32"]


@dataclass(frozen=True)
class Model:
    """A network ready for inference, with what it says of itself and where it came from."""

    card: ModelCard
    network: Network
    path: Path


def shipped() -> dict[str, Path]:
    """The models that come with geounet: name → file."""
    folder = Path(__file__).parent / "models"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(name_or_path: str | Path) -> Path:
    """The file of a shipped model's name, or of a path.

    Raises:
        ModelError: if it is neither.
    """
    path = Path(name_or_path)
    if str(name_or_path) in shipped():
        return shipped()[str(name_or_path)]
    if is_file(path):
        return path
    raise ModelError(
        f"{name_or_path}: neither a file nor a shipped model ({', '.join(shipped()) or 'none'}); "
        "see `geounet models list`"
    )


def save_model(path: Path, network: Network, card: ModelCard, dtype: Kept = "float16") -> ModelCard:
    """Write ``network``, batch norm folded, with its card; returns the card with its hash."""
    architecture, tensors = _folded(network, card.architecture, dtype)
    bare = card.model_copy(
        update={"architecture": architecture, "reach": reach(architecture), "sha256": ""}
    )
    _check_finite(path, tensors)
    signed = bare.model_copy(update={"sha256": _digest(bare, tensors)})
    write_bytes(path, save(tensors, metadata={METADATA_KEY: _canonical(signed)}))
    return signed


def outgrown(network: Network, architecture: AnyArchitecture, dtype: Kept = "float16") -> bool:
    """Whether a weight, batch norm folded, is no finite number of the type that it is kept in."""
    _, tensors = _folded(network, architecture, dtype)
    return not all(np.isfinite(value).all() for value in tensors.values())


def save_with_card(source: Path, target: Path, card: ModelCard) -> ModelCard:
    """Write the tensors of ``source``, as they are, with another card; returns it with its hash."""
    with _open(source) as file:
        _check_header(source, file, card.architecture)
        tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    bare = card.model_copy(update={"sha256": ""})
    signed = bare.model_copy(update={"sha256": _digest(bare, tensors)})
    write_bytes(target, save(tensors, metadata={METADATA_KEY: _canonical(signed)}))
    return signed


def load_card(path: Path) -> ModelCard:
    """The card alone, validated but with no tensor read; for lists and checks."""
    with _open(path) as file:
        return _card_of(path, file.metadata())


def load_model(name_or_path: str | Path) -> Model:
    """A model, checked whole: names, shapes, dtypes, finiteness, hash, schema version.

    Raises:
        ModelError: naming the file and what differs.
    """
    path = find_model(name_or_path)
    with _open(path) as file:
        card = _card_of(path, file.metadata())
        # Shapes and types are compared from the header, before any tensor takes memory.
        _check_header(path, file, card.architecture)
        tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _check_finite(path, tensors)
    if _digest(card.model_copy(update={"sha256": ""}), tensors) != card.sha256:
        raise ModelError(f"{path}: the SHA-256 differs from its card's; get the file again")
    return Model(card, _network_from(card.architecture, tensors), path)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable .safetensors model ({error})") from error


def _card_of(path: Path, metadata: Mapping[str, str] | None) -> ModelCard:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{path}: a .safetensors file, but without a geounet card; train one, or see docs"
        )
    if len(text) > MAX_CARD_BYTES:
        raise ModelError(f"{path}: its card has {len(text)} bytes, over {MAX_CARD_BYTES}")
    try:
        fields = json.loads(text)
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version != SCHEMA_VERSION:
            raise ModelError(
                f"{path}: card of schema version {version}; this geounet reads {SCHEMA_VERSION}"
            )
        card = ModelCard.model_validate(fields)
    except (ValidationError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its card is not valid: {_one_line(error)}") from error
    if not is_folded(card.architecture):
        raise ModelError(f"{path}: batch norm is not folded; save it with save_model")
    if card.reach != reach(card.architecture):
        raise ModelError(
            f"{path}: the card's reach is {card.reach}, its network's is {reach(card.architecture)}"
        )
    return card


def _check_header(path: Path, file: Any, architecture: AnyArchitecture) -> None:
    expected = _shapes_of(architecture)
    found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    differences = [f"lacks {name}" for name in sorted(expected.keys() - found.keys())]
    differences += [f"has an unknown {name}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        shape, dtype = tuple(found[name].get_shape()), found[name].get_dtype()
        if shape != expected[name]:
            differences.append(f"{name} has shape {shape}, not {expected[name]}")
        if dtype not in ("F16", "F32"):
            differences.append(f"{name} is {dtype}, not F16 or F32")
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise ModelError(f"{path}: does not hold its network: {'; '.join(differences[:5])}{more}")


def _check_finite(path: Path, tensors: Tensors) -> None:
    broken = [name for name, value in sorted(tensors.items()) if not np.isfinite(value).all()]
    if broken:
        raise ModelError(f"{path}: {broken[0]} has values that are not finite numbers")


def _digest(card: ModelCard, tensors: Tensors) -> str:
    """SHA-256 over the card without its hash, then over (name, dtype, shape, bytes), sorted."""
    digest = hashlib.sha256(_canonical(card).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _folded(
    network: Network, architecture: AnyArchitecture, dtype: Kept
) -> tuple[AnyArchitecture, Tensors]:
    network, architecture = fold(network, architecture)
    # What is too large becomes infinite, which is looked for by all who come here.
    with np.errstate(over="ignore"):
        return architecture, {
            name: value.astype(dtype) for name, value in _tensors_of(network).items()
        }


def _canonical(card: ModelCard) -> str:
    fields = card.model_dump(mode="json")
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _tensors_of(network: Network) -> Tensors:
    flat = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...]) for path, value in flat}


def _shapes_of(architecture: AnyArchitecture) -> dict[str, tuple[int, ...]]:
    flat = nnx.to_flat_state(nnx.state(_abstract(architecture), nnx.Param))
    return {".".join(map(str, path)): value.shape for path, value in flat}


def _abstract(architecture: AnyArchitecture) -> Network:
    return nnx.eval_shape(lambda: build(architecture, nnx.Rngs(0)))


def _network_from(architecture: AnyArchitecture, tensors: Tensors) -> Network:
    network = _abstract(architecture)
    state = nnx.state(network, nnx.Param)
    loaded = [
        (path, value.replace(np.asarray(tensors[".".join(map(str, path))], np.float32)))
        for path, value in nnx.to_flat_state(state)
    ]
    nnx.update(network, nnx.from_flat_state(loaded))
    network.eval()
    return network


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'card'}: {first['msg']}"
    return " ".join(str(error).split())[:200]
