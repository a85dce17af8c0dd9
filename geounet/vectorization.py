"""A class raster, made here or elsewhere, becomes features in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from rasterio.errors import RasterioError

from geounet.errors import InputError, SettingsError
from geounet.polygonize import PolygonOptions, polygonize, present_values
from geounet.raster import Raster, cause_of, open_raster, read_header
from geounet.style import AnyClass, MapClass, default_colour
from geounet.vector import VectorLayer, write_features
from geounet.vector_formats import check_target
from geounet.vector_settings import VectorSettings, area_amount, length_amount
from geounet.xml_file import read_xml

MOST_CLASSES = 1024
_INT32 = np.iinfo(np.int32)


def vectorize(
    mask: Path,
    out: Path,
    settings: VectorSettings | None = None,
    classes: Sequence[AnyClass] = (),
) -> int:
    """Trace the regions of a class raster and write them; returns the number of features.

    Names and colours are those of ``classes``; where it is empty, those of the raster's category
    names and colour table.

    Args:
        mask: one band of whole numbers; its nodata gives no polygon.
        out: the file to write; its ending chooses the format, and ``settings.formats`` adds others
            of the same name.
        settings: which regions are kept and how they are drawn.
        classes: what the values mean.

    Raises:
        InputError: if the raster cannot be read, or does not hold classes.
        SettingsError: if a class is asked for that the raster does not have.
        OutputError: if a file exists or cannot be written.
    """
    settings = settings or VectorSettings()
    raster = read_header(str(mask))
    endings = (out.suffix, *(f".{name}" for name in settings.formats))
    paths = [out.with_suffix(ending) for ending in dict.fromkeys(endings)]
    for path in paths:
        check_target(path, raster.grid, overwrite=settings.overwrite)
    labels, nodata = _read_labels(raster)
    values = [v for v in present_values(labels).tolist() if v != nodata]
    known = tuple(classes) or _classes_of(raster, values)
    options = PolygonOptions(
        nodata=nodata,
        classes=chosen_values(settings.classes, known, values),
        min_area=area_amount(settings.min_area) if settings.min_area else None,
        simplify=length_amount(settings.simplify) if settings.simplify else None,
    )
    return write_features(
        polygonize(labels, raster.grid, options),
        VectorLayer(raster.grid, known),
        paths,
        overwrite=settings.overwrite,
    )


def chosen_values(
    asked: Sequence[str], classes: Sequence[AnyClass], values: Sequence[int] = ()
) -> tuple[int, ...] | None:
    """The class values that names or numbers stand for; None, which is all, for none asked.

    Raises:
        SettingsError: naming the class that is not there, and those that are.
    """
    if not asked:
        return None
    by_name = {str(v): v for v in values}
    by_name |= {str(c.value): c.value for c in classes} | {c.name: c.value for c in classes}
    unknown = [name for name in asked if name not in by_name]
    if unknown:
        raise SettingsError(
            f"there is no class {unknown[0]!r}; choose from "
            f"{', '.join(f'{c.name} ({c.value})' for c in classes)}"
        )
    return tuple(by_name[name] for name in asked)


def _read_labels(raster: Raster) -> tuple[Int[ndarray, "row col"], int | None]:
    """The whole raster as integers, and its nodata among them."""
    if len(raster.bands) != 1:
        raise InputError(
            f"{raster.shown}: has {len(raster.bands)} bands, and a class raster has one; "
            "take it out with `gdal_translate -b 1 in.tif out.tif`"
        )
    with open_raster(raster.file, raster.driver) as data:
        try:
            values = data.read(raster.bands[0])
            invalid = data.read_masks(raster.bands[0]) == 0
        except RasterioError as error:
            raise InputError(
                f"{raster.shown}: its pixels cannot be read: {cause_of(error)}; "
                "is the file complete?"
            ) from error
    labels = _whole_numbers(raster, values, invalid)
    present = present_values(labels[~invalid])
    if len(present) > MOST_CLASSES:
        raise InputError(
            f"{raster.shown}: has {len(present)} different values, more than {MOST_CLASSES}: it "
            "holds measurements, not classes; reclassify it first"
        )
    if not invalid.any():
        return labels, None
    nodata = int(_free_value(present))
    labels[invalid] = nodata
    return labels, nodata


def _whole_numbers(raster: Raster, values: ndarray, invalid: ndarray) -> Int[ndarray, "row col"]:
    """The values as int32; ``invalid`` grows by what is not finite."""
    if values.dtype.kind == "f":
        np.logical_or(invalid, ~np.isfinite(values), out=invalid)
    values = np.where(invalid, values.dtype.type(0), values)
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise InputError(
            f"{raster.shown}: holds fractions, and a class raster holds whole numbers; "
            "reclassify it first"
        )
    if values.min() < _INT32.min or values.max() >= _INT32.max:
        raise InputError(
            f"{raster.shown}: holds values beyond 32 bits, which class_id cannot; "
            "reclassify it first"
        )
    return values.astype(np.int32)


def _free_value(present: Int[ndarray, " value"]) -> int:
    """A number that no class has, to stand for nodata."""
    return 255 if 255 not in present else int(present.max()) + 1


def _classes_of(raster: Raster, values: Sequence[int]) -> tuple[MapClass, ...]:
    """What the file itself says of the values that occur in it."""
    names = _category_names(Path(raster.file + ".aux.xml"))
    colours = _colours(raster)
    return tuple(
        MapClass(
            value,
            (names[value] if 0 <= value < len(names) else "") or f"class {value}",
            colours.get(value, default_colour(index)),
        )
        for index, value in enumerate(values)
    )


def _category_names(side_car: Path) -> list[str]:
    if not side_car.is_file():
        return []
    categories = read_xml(side_car).findall("./PAMRasterBand[@band='1']/CategoryNames/Category")
    return [category.text or "" for category in categories]


def _colours(raster: Raster) -> dict[int, str]:
    if raster.colours[raster.bands[0] - 1] != "palette":
        return {}
    with open_raster(raster.file, raster.driver) as data:
        table = data.colormap(raster.bands[0])
    return {value: f"#{r:02x}{g:02x}{b:02x}" for value, (r, g, b, _) in table.items()}
