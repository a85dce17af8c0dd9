"""What a user may ask of polygons: sizes, simplification, classes, formats.

No raster or array library is imported here, so that the command line can show its help at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import AfterValidator, Field, model_validator

from geounet.card import Frozen

VectorFormat = Literal["gpkg", "geojson", "geojsonl", "shp", "shp.zip", "fgb", "parquet", "pmtiles"]

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Z]+[0-9²]?)\s*")
_AREAS = {"px": None, "m2": 1.0, "m²": 1.0, "ha": 1e4, "km2": 1e6, "km²": 1e6}
_LENGTHS = {"px": None, "m": 1.0, "km": 1000.0}


@dataclass(frozen=True)
class Amount:
    """A length or an area: in metres or square metres, or in pixels."""

    value: float
    in_pixels: bool

    def pixels(self, pixel: float) -> float:
        """The same in pixels, one of which is ``pixel`` metres (or square metres)."""
        return self.value if self.in_pixels else self.value / pixel


def area_amount(text: str) -> Amount:
    """``0.5ha``, ``100m2``, ``2km2`` or ``25px``.

    Raises:
        ValueError: naming the text and the forms that are understood.
    """
    return _amount(text, _AREAS, "an area", "0.5ha, 100m2, 2km2 or 25px")


def length_amount(text: str) -> Amount:
    """``10m``, ``0.1km`` or ``1px``.

    Raises:
        ValueError: naming the text and the forms that are understood.
    """
    return _amount(text, _LENGTHS, "a length", "10m, 0.1km or 1px")


def _amount(text: str, units: dict[str, float | None], what: str, forms: str) -> Amount:
    match = _AMOUNT.fullmatch(text)
    unit = match[2].lower() if match else ""
    if not match or unit not in units:
        raise ValueError(f"{text!r} is not {what}: write a number and its unit, as in {forms}")
    factor = units[unit]
    return Amount(float(match[1]) * (factor or 1.0), in_pixels=factor is None)


def _is_area(text: str) -> str:
    area_amount(text)
    return text


def _is_length(text: str) -> str:
    length_amount(text)
    return text


AreaText = Annotated[str, AfterValidator(_is_area)]
LengthText = Annotated[str, AfterValidator(_is_length)]


class VectorSettings(Frozen):
    """Which polygons are kept, how they are drawn, and into which files they go."""

    min_area: Annotated[
        AreaText | None,
        Field(description="drop polygons below: 0.5ha, 100m2, 25px"),
    ] = None
    absorb: Annotated[
        bool, Field(description="join what is below --min-area to its neighbour instead")
    ] = False
    fill_holes: Annotated[
        AreaText | None,
        Field(description="join enclosed polygons below this to what surrounds them"),
    ] = None
    simplify: Annotated[
        LengthText | None,
        Field(description="simplify borders, kept shared: 10m or 1px"),
    ] = None
    simplify_method: Annotated[
        Literal["douglas-peucker", "visvalingam"], Field(description="how corners are ranked")
    ] = "douglas-peucker"
    simplify_outline: Annotated[
        bool, Field(description="simplify and smooth borders to no data too")
    ] = False
    smooth: Annotated[
        int, Field(ge=0, le=3, description="times to round corners off (Chaikin)")
    ] = 0
    split: Annotated[
        bool, Field(description="cut features every 2048 pixels, for very large ones")
    ] = False
    max_features: Annotated[
        int | None, Field(ge=1, description="refuse a map of more features")
    ] = None
    max_vertices: Annotated[
        int | None, Field(ge=4, description="refuse a feature of more vertices")
    ] = None
    classes: Annotated[
        tuple[str, ...], Field(description="polygons of these classes only, by name or value")
    ] = ()
    formats: Annotated[
        tuple[VectorFormat, ...],
        Parameter(name="--format"),
        Field(description="more files of the same name: gpkg, shp, geojson …"),
    ] = ()
    zones: Annotated[
        str | None, Field(description="polygon file; its names go to the field zone")
    ] = None
    zone_field: Annotated[str | None, Field(description="field of --zones with the names")] = None
    overwrite: Annotated[bool, Field(description="replace files that exist")] = False
    resume: Annotated[bool, Field(description="go on with an interrupted job")] = False

    @model_validator(mode="after")
    def _choices_go_together(self) -> VectorSettings:
        if self.overwrite and self.resume:
            raise ValueError("choose one: --overwrite starts anew, --resume goes on")
        if self.absorb and self.min_area is None:
            raise ValueError("--absorb needs --min-area: below which size polygons join another")
        if self.split and self.min_area is not None and not self.absorb:
            raise ValueError(
                "--split cuts features, and --min-area would drop small parts of large ones; give "
                "--absorb too, which joins whole ones before they are cut"
            )
        if self.zone_field and not self.zones:
            raise ValueError("--zone-field needs --zones: the file that has the field")
        return self


POLYGONS = {*VectorSettings.model_fields} - {"overwrite", "resume", "zones", "zone_field"}
"""The fields that polygons depend on, but for zones, which are told by what they hold."""
