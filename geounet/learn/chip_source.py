"""What the training loop learns from: any object that gives batches and validation chips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from geounet.indices import Pairs

Chip = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""An image, float32 (row, col, band), and its labels, uint8 (row, col); or a batch of them."""


class ChipSource(Protocol):
    """Training data as the loop sees them; several threads read at a time."""

    @property
    def steps(self) -> int:
        """Batches per epoch."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each input of the network, over training pixels: bands in the card's unit, indices."""

    @property
    def std(self) -> tuple[float, ...]:
        """Of each input of the network, over training pixels."""

    @property
    def pairs(self) -> Pairs:
        """The positions of the bands of each index; images have the bands alone."""

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training pixels of each class."""

    @property
    def validation(self) -> Sequence[Chip]:
        """Chips that nothing is learnt from, all of one shape."""

    def batch(self, epoch: int, i: int) -> Chip:
        """Images and labels; a pure function of its arguments."""
