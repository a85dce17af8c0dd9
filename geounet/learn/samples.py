"""Random access to the samples of a training set, and their statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from geounet.card import LandClass
from geounet.errors import InputError
from geounet.learn.chips import Chip, Image, Labels, read_chip
from geounet.learn.data_settings import DataSettings
from geounet.learn.ground import Chip as Place
from geounet.learn.slabs import Reader


def statistics(
    images: Iterator[Image], names: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over the pixels with data, chip by chip.

    Raises:
        InputError: if a band has no data or is constant.
    """
    count = np.zeros(len(names))
    mean, spread = np.zeros(len(names)), np.zeros(len(names))
    for image in images:
        pixels = image[np.isfinite(image).all(axis=-1)].astype(np.float64)
        if not len(pixels):
            continue
        # Chan et al. 1979: merges two parts' sums of squares without their cancellation.
        delta, total = pixels.mean(axis=0) - mean, count + len(pixels)
        spread += pixels.var(axis=0) * len(pixels) + delta**2 * count * len(pixels) / total
        mean += delta * len(pixels) / total
        count = total
    for name, pixels_seen, width in zip(names, count, spread, strict=True):
        if not width > 0:
            cause = "is the same everywhere" if pixels_seen else "has no valid pixel"
            raise InputError(f"training images: band {name} {cause}; check bands and nodata")
    std = np.sqrt(spread / count)
    return tuple(mean.tolist()), tuple(std.tolist())


class Samples:
    """Random access to chips as arrays; decoded ones stay in memory while ``cache_mb`` lasts."""

    def __init__(
        self,
        chips: Sequence[Chip],
        data: DataSettings,
        classes: Sequence[LandClass],
        side: int,
        cache_mb: int,
    ) -> None:
        self.chips = chips
        self._read = lambda chip: read_chip(chip, data, classes, side)
        self._cache: dict[int, tuple[Image, Labels]] = {}
        self._room = cache_mb * 2**20

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> tuple[Image, Labels]:
        if index in self._cache:
            return self._cache[index]
        image, labels = self._read(self.chips[index])
        size = image.nbytes + labels.nbytes
        if size <= self._room:
            self._room -= size
            self._cache[index] = (image, labels)
        return image, labels


class Chips(Sequence[tuple[Image, Labels]]):
    """Random access to the chips of labelled scenes as arrays; threads may read at once."""

    def __init__(self, reader: Reader, places: Sequence[Place]) -> None:
        self._reader = reader
        self.places = tuple(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Image, Labels]:  # type: ignore[override]
        return self._reader.read(self.places[index])
