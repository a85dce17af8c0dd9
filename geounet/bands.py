"""Turns a product's layers, and the headers of their files, into named and scaled bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp

from geounet.errors import InputError, SettingsError
from geounet.locations import is_remote, locate, shown
from geounet.products import Layer, Product
from geounet.raster import Raster
from geounet.scene_options import SceneOptions
from geounet.sensors import ALSO, MADE_TAG, band_id, canonical, common_name
from geounet.small_file import is_file

COLOURS = {
    ColorInterp.red.name: "red",
    ColorInterp.green.name: "green",
    ColorInterp.blue.name: "blue",
}
ReadHeader = Callable[[str], Raster]


@dataclass(frozen=True)
class Band:
    """One layer of a scene: ``physical = number * scale + offset``; None where nobody says.

    ``aliases`` are further names that it answers to, such as its id on the sensor.
    """

    name: str
    description: str
    raster: Raster
    index: int
    scale: float | None
    offset: float | None
    nodata: float | None
    aliases: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Absolute path, or address."""
        return self.raster.file

    @property
    def dtype(self) -> str:
        return self.raster.dtypes[self.index - 1]

    def answers_to(self, name: str) -> bool:
        """True for its name, description and aliases, in any spelling."""
        return canonical(name) in {canonical(n) for n in (self.name, *self.aliases) if n}


def make_bands(
    product: Product, options: SceneOptions, header: ReadHeader
) -> tuple[tuple[Band, ...], tuple[str, ...]]:
    """The bands of a product in its order, names unique, and notes for the user.

    Raises:
        InputError: if a file cannot be read, a band holds no measurements, or Sentinel-2 numbers
            may or may not hold the offset.
        SettingsError: if --band names what is not there.
    """
    notes: list[str] = []
    bands: list[Band] = []
    for layer in product.layers:
        raster = header(layer.file)
        indexes = raster.bands if layer.index is None else (layer.index,)
        bands += [_band(layer, raster, i, product.sensor, options, notes) for i in indexes]
    bands = _chosen(bands, product, options, header, notes)
    if not bands:
        raise InputError(f"{product.name}: holds no image band; check the folder or --band")
    if tag_of(bands, MADE_TAG):
        notes.append(f"{product.name}: is a drawn scene, not an observation of the Earth")
    return _unique(bands), tuple(dict.fromkeys(notes))


def tag_of(bands: Sequence[Band], name: str) -> str | None:
    """What the first of the bands' files that has something under this name says."""
    return next((found for b in bands if (found := dict(b.raster.tags).get(name))), None)


def _band(
    layer: Layer,
    raster: Raster,
    index: int,
    sensor: str | None,
    options: SceneOptions,
    notes: list[str],
) -> Band:
    _check(raster, index)
    description = raster.descriptions[index - 1]
    name, aliases = _names(layer, raster, index, sensor, notes)
    scale, offset = _scaling(layer, raster, index, options)
    own = (raster.nodata[index - 1],)
    return Band(
        name=name,
        description=description,
        raster=raster,
        index=index,
        scale=scale,
        offset=offset,
        nodata=nodata_of(raster, index, options.nodata, *own, layer.nodata),
        aliases=tuple(dict.fromkeys((*layer.aliases, *aliases))),
    )


def _check(raster: Raster, index: int) -> None:
    if index > raster.count:
        raise InputError(
            f"{raster.shown}: has no band {index}, only {raster.count}; correct the band number"
        )
    fault = raster.faults[index - 1]
    if fault:
        raise InputError(
            f"{raster.shown}: band {index} {fault}, not a measurement; convert it, e.g. "
            f"`gdal_translate -expand rgb` for a palette or `gdal_translate -ot Float32`"
        )


def _names(
    layer: Layer, raster: Raster, index: int, sensor: str | None, notes: list[str]
) -> tuple[str, tuple[str, ...]]:
    """The product's name for it; else the description; else the colour; else its number."""
    description = raster.descriptions[index - 1]
    # Some writers call every band "Band 1", "Band 2": that says nothing of the sensor's bands.
    if description.lower() == f"band {index}":
        description = ""
    if layer.name:
        return layer.name, (description,) if description else ()
    known = common_name(sensor, description)
    if known:
        key = band_id(description) or ""
        return known, (key, description, *ALSO.get((sensor or "", key), ()))
    colour = COLOURS.get(raster.colours[index - 1], "")
    if colour:
        notes.append(f"{Path(raster.shown).name}: its header says which bands are colours")
    if description:
        name = description if band_id(description) else canonical(description)
        return name, (description, colour) if colour else (description,)
    return colour or f"band{index}", ()


def _scaling(
    layer: Layer, raster: Raster, index: int, options: SceneOptions
) -> tuple[float | None, float | None]:
    """Flag, then product, then the file's own tags."""
    own = raster.scaling[index - 1]
    whole = np.dtype(raster.dtypes[index - 1]).kind in "iu"
    sixteen = whole and np.dtype(raster.dtypes[index - 1]).itemsize > 1
    scale, offset = layer.scale, layer.offset
    if layer.undecided:
        # Floats and bytes are no Sentinel-2 numbers any more: someone has rescaled them.
        scale, offset = own or ((layer.scale, None) if sixteen else (None, None))
        if sixteen and options.offset is None and offset is None:
            raise InputError(
                f"{raster.shown}: nothing says whether these Sentinel-2 numbers still hold ESA's "
                f"offset of 1000; say --offset -0.1 if they do (baseline 04.00 or later, as "
                f"downloaded), or --offset 0 if not (older, or already removed)"
            )
    elif scale is None and offset is None and own is not None:
        scale, offset = own
    scale = options.scale if options.scale is not None else scale
    offset = options.offset if options.offset is not None else offset
    return scale, 0.0 if offset is None and scale is not None else offset


def nodata_of(raster: Raster, index: int, *said: float | None) -> float | None:
    """The first number that is not None, of ``said`` and then the file's own, as its type has it.

    None if the type cannot hold it; also for NaN, which is no data in any file of floats.
    """
    number = next((n for n in (*said, raster.nodata[index - 1]) if n is not None), None)
    dtype = np.dtype(raster.dtypes[index - 1])
    if number is None or np.isnan(number) or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        return float(dtype.type(number))
    limits = np.iinfo(dtype)
    fits = float(number).is_integer() and limits.min <= number <= limits.max
    return float(number) if fits else None


def _chosen(
    bands: list[Band],
    product: Product,
    options: SceneOptions,
    header: ReadHeader,
    notes: list[str],
) -> list[Band]:
    """--band NAME=WHAT: a band number, a name or description, or a file with an optional :band.

    Numbers and names are those before any renaming, so that ``red=3`` and ``blue=1`` swap two.
    """
    own = list(bands)
    for name, what in options.bands.items():
        found = _find(own, what) or _find(bands, what)
        if found is None:
            layer = _layer_of(bands, name, what, product, options.allow_private)
            band = _band(
                layer, header(layer.file), layer.index or 1, product.sensor, options, notes
            )
            bands = [b for b in bands if b.name != name and not _same(b, band)] + [band]
            continue
        now = next((b for b in bands if _same(b, found)), found)
        renamed = replace(now, name=name, aliases=(*now.aliases, now.name))
        bands = [renamed if _same(b, now) else b for b in bands if b.name != name or _same(b, now)]
        bands += [] if renamed in bands else [renamed]
    return bands


def _same(a: Band, b: Band) -> bool:
    return (a.file, a.index) == (b.file, b.index)


def _find(bands: list[Band], what: str) -> Band | None:
    if what.isdecimal():
        alone = len({b.file for b in bands}) == 1
        return next((b for b in bands if alone and b.index == int(what)), None)
    return next((b for b in bands if b.answers_to(what)), None)


def _layer_of(
    bands: list[Band], name: str, what: str, product: Product, allow_private: bool
) -> Layer:
    file, _, index = what.rpartition(":")
    if not (file and index.isdecimal() and int(index)):
        file, index = what, "1"
    bases = [None] if is_remote(file) else [Path(product.folder), None]
    places = [locate(file, base, allow_private) for base in bases]
    there = next((p for p in places if is_remote(p) or is_file(p)), None)
    if there is None:
        have = ", ".join(f"{b.index} {b.name}" for b in bands)
        raise SettingsError(
            f"--band {name}={shown(what)}: is neither a band of {product.name} nor a file; "
            f"there are: {have}"
        )
    # A file that is named by hand is scaled as the rest of the product is.
    alike = product.layers[0] if product.layers else Layer(there)
    return replace(alike, file=there, index=int(index), name=name, aliases=())


def _unique(bands: list[Band]) -> tuple[Band, ...]:
    """Second and later bands of a name get a number: red, red_2."""
    seen: dict[str, int] = {}
    out = []
    for band in bands:
        seen[band.name] = seen.get(band.name, 0) + 1
        number = seen[band.name]
        out.append(band if number == 1 else replace(band, name=f"{band.name}_{number}"))
    return tuple(out)
