"""The network that each process keeps, and the lock on its device.

Tasks carry the small ``Forward``; the first of them in a process loads what it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from geounet.errors import ModelError, task
from geounet.model_file import load_model
from geounet.predict import Precision, Predictor


@dataclass(frozen=True)
class Forward:
    """Which network, scaled how and computed how: small, and picklable."""

    model: str
    sha256: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    precision: Precision
    tta: bool = False


DEVICE = Lock()
"""Held by the one thread of a process that computes."""
_LOADING = Lock()


def predictor_of(forward: Forward) -> Predictor:
    """This process's predictor: loaded once, whichever thread asks.

    The last eight are kept: a job of several dates goes through theirs with every tile.

    Raises:
        ModelError: if the file is not the one that the client read.
    """
    with _LOADING:
        return _load_predictor(forward)


@task
def try_window(forward: Forward, shape: tuple[int, int], dtype: str) -> None:
    """Run the network once on a window of nothing, with all that it may be asked for.

    Raises:
        LostItemError: if the device has not enough memory for it.
    """
    bands = len(forward.scale)
    nothing = np.zeros((*shape, bands), dtype), np.ones(shape, bool)
    with DEVICE:
        predictor_of(forward)(*nothing, confidence=True, probabilities=True)


@lru_cache(maxsize=8)
def _load_predictor(forward: Forward) -> Predictor:
    model = load_model(forward.model)
    if model.card.sha256 != forward.sha256:
        raise ModelError(
            f"{forward.model}: this worker has another file than the client ({forward.sha256[:12]})"
        )
    r = forward
    return Predictor(model.network, model.card, r.scale, r.offset, r.precision, tta=r.tta)
