"""scene.yaml: a scene put together by hand, band by band.

name: flood-2024
date: 2024-05-03
scale: 0.0001                      # for all bands that do not say otherwise
mask: [clouds.tif:values=1]
bands:
  vv: S1_VV.tif
  nir: {file: stack.tif, band: 4, scale: 0.0001, offset: -0.1, nodata: 0}
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from geounet.card import Frozen, ShortText
from geounet.errors import InputError, SettingsError
from geounet.mask_rule import parse_mask
from geounet.scene_options import Scale, Sensor
from geounet.sensors import MASK_RULES
from geounet.yaml_file import read_mapping

Number = Annotated[float, Field(allow_inf_nan=False)]


class BandEntry(Frozen):
    """Where one band lies: ``physical = number * scale + offset``."""

    file: str = Field(min_length=1, max_length=4000)
    band: int = Field(default=1, ge=1)
    scale: Scale | None = None
    offset: Number | None = None
    nodata: float | None = None


class SceneFile(Frozen):
    """The whole of a scene.yaml; files are relative to it."""

    name: ShortText = ""
    sensor: Sensor | None = None
    level: ShortText | None = None
    date: datetime.date | None = None
    scale: Scale | None = None
    offset: Number | None = None
    nodata: float | None = None
    mask: tuple[str, ...] = ()
    bands: dict[ShortText, BandEntry] = Field(min_length=1)

    @field_validator("bands", mode="before")
    @classmethod
    def _file_alone(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {k: {"file": v} if isinstance(v, str) else v for k, v in value.items()}

    @field_validator("mask", mode="before")
    @classmethod
    def _mask_alone(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("mask")
    @classmethod
    def _mask_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for rule in value:
            if rule not in MASK_RULES:
                try:
                    parse_mask(rule)
                except SettingsError as error:
                    raise ValueError(str(error)) from error
        return value


def read_scene_file(path: Path) -> SceneFile:
    """A checked scene.yaml.

    Raises:
        InputError: naming the field that is wrong.
    """
    fields = read_mapping(path, "scene.yaml", InputError)
    try:
        return SceneFile.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {where}: {said}; see `geounet inspect --help`") from error
