"""Vector files as labels: opened and checked once, then burnt onto an image's pixels.

What a feature means is settled here, from its attribute alone; where it lies is label_features.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyogrio
from pyogrio import errors
from rasterio.crs import CRS

from geounet.card import LandClass
from geounet.errors import InputError, SettingsError
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import UNLABELLED, class_value, some
from geounet.learn.label_settings import ClassKey, VectorSettings, attribute_text
from geounet.vector_file import vector_path

ENDINGS = (".gpkg", ".shp", ".fgb", ".geojson", ".json")
FAILURES = (
    *(errors.CRSError, errors.DataLayerError, errors.DataSourceError, errors.FeatureError),
    *(errors.FieldError, errors.GeometryError, OSError),
)
EMPTY = "(empty)"
"""How a missing attribute is written in ``values`` and in messages."""


@dataclass(frozen=True)
class VectorLabels:
    """One layer whose attribute says the class.

    ``meaning`` is the label value of each attribute value that may occur; ``UNLABELLED`` marks
    ground of which nothing is known, for features (``meaning``, ``others``) and without them
    (``background``). ``stamp`` tells a file that was edited from what is kept of the old one.
    """

    file: str
    layer: str
    crs: str
    attribute: str
    meaning: tuple[tuple[str, int], ...]
    background: int
    all_touched: bool
    buffer: str | None
    stamp: tuple[int, int] = field(default=(0, 0), repr=False)


def is_vector(file: str) -> bool:
    """Whether a label file is one of features, by its ending."""
    return Path(file).suffix.lower() in ENDINGS


def open_vector_labels(
    file: str, data: DataSettings, classes: Sequence[LandClass]
) -> tuple[VectorLabels, tuple[str, ...]]:
    """The labels that ``data.vector`` makes of a file, and what the user should know of them.

    The attribute of all features is read, but no geometry.

    Raises:
        InputError: if the file cannot be used, or holds attribute values without a class.
        SettingsError: if ``data.vector`` is missing, or names a class that there is not.
    """
    if data.vector is None:
        raise SettingsError(
            f"data.vector is missing, and {file} is a vector file: say its attribute and the class "
            "of each value, as in `vector: {attribute: class, values: {forest: 1}}`"
        )
    said = data.vector
    vector_path(file)
    with readable(file):
        layer = _layer(file, said.layer)
        info = pyogrio.read_info(file, layer=layer)
        _check_attribute(file, layer, said.attribute, [str(name) for name in info["fields"]])
        crs = _crs(file, info["crs"], info["geometry_type"], data.assume_crs)
        found = _attribute_counts(file, layer, said.attribute)
    meaning = _meaning(said, classes)
    notes = _check_values(file, said, found)
    meaning = {**dict.fromkeys(found, UNLABELLED), **meaning}
    background = _value(said.background, classes, "data.vector.background")
    labels = VectorLabels(
        file=file,
        layer=layer,
        crs=crs,
        attribute=said.attribute,
        meaning=tuple(sorted(meaning.items())),
        background=background,
        all_touched=said.all_touched,
        buffer=said.buffer,
        stamp=_stamp(file),
    )
    return labels, notes


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Turn what pyogrio raises into an error that names the file.

    Raises:
        InputError: with GDAL's own cause.
    """
    try:
        yield
    except FAILURES as error:
        raise InputError(
            f"{file}: cannot be read as a vector file: {' '.join(str(error).split())}; is it "
            f"complete? `ogrinfo -al -so {Path(file).name}` says more"
        ) from error


def attribute_texts(values: np.ndarray) -> list[str]:
    """Attribute values in the spelling of ``data.vector.values``."""
    plain = (v.item() if isinstance(v, np.generic) else v for v in values)
    return [EMPTY if v is None or v != v else attribute_text(v) for v in plain]


def _stamp(file: str) -> tuple[int, int]:
    """Bytes of the files of a layer, and when the last of them was written."""
    parts = {Path(file), *(Path(file).with_suffix(s) for s in (".dbf", ".shx", ".prj"))}
    stats = [part.stat() for part in parts if part.is_file()]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def _layer(file: str, wanted: str | None) -> str:
    layers = [str(name) for name, _ in pyogrio.list_layers(file)]
    if wanted is None and len(layers) == 1:
        return layers[0]
    if wanted in layers:
        return wanted
    cause = "has several layers" if wanted is None else f"has no layer {wanted}"
    raise InputError(f"{file}: {cause}; set data.vector.layer to one of: {some(layers) or 'none'}")


def _check_attribute(file: str, layer: str, attribute: str, fields: list[str]) -> None:
    if attribute not in fields:
        raise InputError(
            f"{file}: layer {layer} has no attribute {attribute}; set data.vector.attribute to one "
            f"of: {some(fields) or 'none'}"
        )


def _crs(file: str, crs: str | None, geometry: str | None, assumed: str | None) -> str:
    """The layer's CRS as WKT."""
    if geometry is None:
        raise InputError(
            f"{file}: the layer has no geometry; choose another with data.vector.layer"
        )
    if not (crs or assumed):
        raise InputError(
            f"{file}: names no coordinate reference system; write it with `ogr2ogr -a_srs EPSG:… "
            "out.gpkg in`, or say data.assume_crs"
        )
    return CRS.from_user_input(crs or assumed).to_wkt()


def _attribute_counts(file: str, layer: str, attribute: str) -> Counter[str]:
    frame = pyogrio.read_dataframe(file, layer=layer, columns=[attribute], read_geometry=False)
    if not len(frame):
        raise InputError(f"{file}: layer {layer} has no feature; give the labels of this place")
    values = frame[attribute].to_numpy()
    if any(isinstance(value, list | dict | np.ndarray) for value in values):
        raise InputError(
            f"{file}: {attribute} holds lists; a class needs one text, number or date per feature: "
            "set data.vector.attribute to another, or export one with a single value"
        )
    return Counter(attribute_texts(values))


def _meaning(said: VectorSettings, classes: Sequence[LandClass]) -> dict[str, int]:
    return {
        text: _value(key, classes, f"data.vector.values {text}")
        for text, key in said.values.items()
    }


def _value(key: ClassKey | None, classes: Sequence[LandClass], field: str) -> int:
    return UNLABELLED if key is None else class_value(key, classes, field)


def _check_values(file: str, said: VectorSettings, found: Counter[str]) -> tuple[str, ...]:
    """Every attribute value has a class, and every value that has a class occurs somewhere.

    Raises:
        InputError: listing the values without a class with their counts.
    """
    strange = {text: n for text, n in found.most_common() if text not in said.values}
    listed = some([f"{text} ({n} features)" for text, n in strange.items()])
    if not found.keys() & said.values.keys():
        raise InputError(
            f"{file}: no feature has one of data.vector.values ({some(list(said.values))}); its "
            f"{said.attribute} holds {listed}"
        )
    if strange and said.others == "refuse":
        raise InputError(
            f"{file}: {said.attribute} has values without a class: {listed}; add them to "
            "data.vector.values (null for ground of which nothing is known), or say "
            "`others: ignore` there"
        )
    notes = []
    if strange:
        notes.append(f"features without a class are not learnt from: {listed}")
    if unused := [text for text in said.values if text not in found]:
        notes.append(f"no feature has {said.attribute} {some(unused)}")
    return tuple(notes)
