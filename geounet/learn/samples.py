"""Random access to the chips of labelled scenes."""

from __future__ import annotations

from collections.abc import Sequence

from geounet.learn.ground import Chip
from geounet.learn.labelled import Image, Labels
from geounet.learn.slabs import Reader


class Chips(Sequence[tuple[Image, Labels]]):
    """Chips as arrays, read when asked for; threads may read at once."""

    def __init__(self, reader: Reader, places: Sequence[Chip]) -> None:
        self._reader = reader
        self.places = tuple(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Image, Labels]:  # type: ignore[override]
        return self._reader.read(self.places[index])
