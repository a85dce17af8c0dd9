"""All that the bytes of a trained model depend on; a resume refuses any change of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from geounet.grid import Window
from geounet.learn.chip_source import ChipSource
from geounet.learn.train_settings import TrainSettings
from geounet.machine import device_name
from geounet.versions import versions

WITHOUT_EFFECT: Any = {
    "cache_mb": True,
    "checkpoint_minutes": True,
    "tensorboard": True,
    "data": {"root"},
}
"""Settings that may change between a run and its resume."""


def identity_of(settings: TrainSettings, data: ChipSource) -> dict[str, Any]:
    """Settings, data, devices and versions, as JSON holds them.

    Of the data: numbers taken over all training pixels, and the bytes of the first batch and the
    first validation chip.
    """
    return {
        "settings": settings.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        "data": {
            "steps": data.steps,
            "mean": list(data.mean),
            "std": list(data.std),
            "class_counts": list(data.class_counts),
            "validation": len(data.validation),
            "first_batch": _digest(*data.batch(0, 0)),
            "first_validation": _digest(*data.validation[0]) if len(data.validation) else "",
        },
        "device": device_name(),
        "devices": len(jax.local_devices()),
        "versions": versions() | {name: version(name) for name in ("flax", "jax", "optax")},
    }


def held_out_by(areas: Mapping[str, Sequence[Window]]) -> str:
    """SHA-256 of the validation windows by name of their scene; ``none`` where there are none."""
    places = {
        name: sorted((r.start, r.stop, c.start, c.stop) for r, c in windows)
        for name, windows in areas.items()
        if windows
    }
    text = json.dumps(places, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if places else "none"


def _digest(*arrays: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
