"""Where training samples lie, and how their numbers are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from geounet.card import Frozen


class Selection(Frozen):
    """The samples whose ``column`` of the table holds one of ``values``."""

    column: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


class DataSettings(Frozen):
    """Where the samples are and how their numbers are read.

    An image and a label belong together when their files have the same stem. ``bands`` maps the
    card's band names, in wavelength order, to a channel (counted from 1) or its description.
    """

    root: Path = Path()
    images: Annotated[str, Field(description="glob of the images, relative to root")]
    labels: Annotated[str, Field(description="glob of the label rasters, relative to root")]
    bands: Annotated[dict[str, int | str], Field(min_length=1)]
    scale: Annotated[float, Field(gt=0, description="value = number * scale + offset")] = 1.0
    offset: float = 0.0
    nodata: Annotated[float | None, Field(description="number of pixels without data")] = None
    remap: dict[int, int] = Field(
        default_factory=dict, description="label in the file: the value that it means"
    )
    ignore: Annotated[tuple[int, ...], Field(description="labels that nothing is learnt from")] = ()
    table: Annotated[str | None, Field(description="CSV with a row per stem")] = None
    key: Annotated[str, Field(description="the table's column of stems")] = "id"
    validation: Selection | None = None
