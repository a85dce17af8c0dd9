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

import yaml
from pydantic import Field, ValidationError, field_validator

from geounet.card import Frozen, ShortText
from geounet.errors import InputError
from geounet.scene_options import Sensor

SIZE_LIMIT = 2**20
Number = Annotated[float, Field(allow_inf_nan=False)]


class BandEntry(Frozen):
    """Where one band lies: ``physical = number * scale + offset``."""

    file: str = Field(min_length=1, max_length=4000)
    band: int = Field(default=1, ge=1)
    scale: Number | None = None
    offset: Number | None = None
    nodata: float | None = None


class SceneFile(Frozen):
    """The whole of a scene.yaml; files are relative to it."""

    name: ShortText = ""
    sensor: Sensor | None = None
    level: ShortText | None = None
    date: datetime.date | None = None
    scale: Number | None = None
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


def read_scene_file(path: Path) -> SceneFile:
    """A checked scene.yaml.

    Raises:
        InputError: naming the field that is wrong.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    if len(text) > SIZE_LIMIT:
        raise InputError(f"{path}: is larger than {SIZE_LIMIT >> 20} MB; it is no scene.yaml")
    try:
        # Aliases let a small file stand for gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InputError(f"{path}: uses YAML aliases, which are not read; write values out")
        return SceneFile.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{path}: is not YAML: {cause}; mend that line") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "the file"
        raise InputError(
            f"{path}: {where}: {first['msg']}; see `geounet inspect --help`"
        ) from error
