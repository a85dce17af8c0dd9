"""Since which date a class is gone: a class for each date, and a raster of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from geounet.card import NODATA, LandClass
from geounet.change import Made
from geounet.cog import CogStyle, Piece, write_cog
from geounet.raster import read_header
from geounet.resample import Part, read_on

_EARLY, _LATE = np.array((255, 214, 102)), np.array((140, 16, 26))
# ^ From yellow to dark red, as maps of loss by year are drawn.


def loss_classes(first: int, dates: Sequence[str | None]) -> tuple[LandClass, ...]:
    """A class for each date but the first: value ``first + k`` is gone since date k.

    Named by the date if it is known and no other date is the same, else by its number.
    """
    shares = np.linspace(0, 1, max(len(dates) - 1, 2))
    colours = [(_EARLY + share * (_LATE - _EARLY)).round().astype(int) for share in shares]
    names = [
        f"loss by {date}" if date and dates.count(date) == 1 else f"loss by date {k + 1}"
        for k, date in enumerate(dates)
    ]
    return tuple(
        LandClass(
            value=first + k,
            name=names[k] if len(dates) > 2 else "loss",
            colour="#{:02x}{:02x}{:02x}".format(*colours[k - 1] if len(dates) > 2 else _LATE),
        )
        for k in range(1, len(dates))
    )


def write_loss_dates(made: Made, losses: Sequence[LandClass], first: int) -> Path:
    """loss_date.tif: the number of the date, from 0, since which the class is gone; 255 elsewhere.

    Raises:
        OutputError: if it cannot be written.
    """
    path, source = made.out / "loss_date.tif", made.source
    mask = Part(read_header(str((made.out / "mask.tif").resolve())), (1,), (None,), "nearest")
    table = np.full(256, NODATA, np.uint8)
    for loss in losses:
        table[loss.value] = loss.value - first

    def pieces() -> Iterator[Piece]:
        for tile in source.tiles:
            if not source.records[tile.name].is_empty:
                yield tile.core, table[read_on(mask, source.grid, tile.core)[0][..., 0]]

    dated = tuple(
        LandClass(value=loss.value - first, name=loss.name, colour=loss.colour) for loss in losses
    )
    style = CogStyle(classes=dated, bands=("date",), tags=dict(source.tags))
    write_cog(path, source.grid, pieces(), style, overwrite=True)
    return path
