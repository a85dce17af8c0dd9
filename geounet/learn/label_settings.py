"""How vector labels become classes: which layer, which attribute, which value means which class."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from geounet.card import Finite

ClassKey = Annotated[int, Field(ge=0, le=254)] | str
"""A class by its value or by its name."""


def attribute_text(value: object) -> str:
    """One spelling for an attribute's value in YAML and in the file: 1, 1.0 and "1" are alike.

    Files hold dates as the first moment of the day: they are spelled without it.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) and value.time() == time():
        return str(value.date())
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _with_text_keys(value: object) -> object:
    if not isinstance(value, dict):
        return value
    for key in value:
        if isinstance(key, bool):
            # YAML 1.1 takes yes, no, on and off for booleans.
            raise ValueError(f"YAML reads one of the keys as {key}; put it in quotes")
    return {attribute_text(key): meant for key, meant in value.items()}


class VectorSettings(Finite):
    """Polygons, lines or points whose ``attribute`` says the class.

    ``values`` maps the attribute's values to classes; null means ground of which nothing is known.
    Where features overlap the later one in the file wins. ``background`` is the class of ground
    without a feature; null leaves it without a label.
    """

    attribute: Annotated[str, Field(min_length=1)]
    values: Annotated[
        dict[str, ClassKey | None], Field(min_length=1), BeforeValidator(_with_text_keys)
    ]
    layer: str | None = Field(default=None, description="needed where the file has several")
    others: Annotated[
        Literal["refuse", "ignore"], Field(description="features whose value is not in values")
    ] = "refuse"
    all_touched: Annotated[
        bool, Field(description="label every pixel that a feature touches, not only by its centre")
    ] = False
    buffer: Annotated[
        str | None,
        Field(
            pattern=r"^\d+(\.\d+)? ?(m|px)$",
            description="widen lines and points by this much on each side, e.g. 15 m or 1.5 px",
        ),
    ] = None
    background: ClassKey | None = None
