"""Training samples from images and label rasters on disk: found, checked, then read one by one.

A chip is a window of one image; an image larger than a chip gives several, which slide inward at
its end, and a smaller one is filled up with pixels that have neither data nor label. Bands come
out in the card's unit, NaN where there is no data; labels as class indices, 255 where ignored.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, UInt8
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from geounet.card import NODATA, LandClass
from geounet.errors import InputError, SettingsError
from geounet.grid import Window, shape_of
from geounet.learn.data_settings import DataSettings, Selection
from geounet.raster import cause_of, open_raster

DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".png": "PNG"}
SHOWN = 8
"""Names or values that a message lists before it only counts the rest."""

Image = Float[np.ndarray, "side side band"]
Labels = UInt8[np.ndarray, "side side"]


@dataclass(frozen=True)
class Chip:
    """One sample: the same ``window`` of an image and of its labels; ``row`` is its table row."""

    stem: str
    image: Path
    label: Path
    window: Window
    row: dict[str, str] = field(default_factory=dict)


def find_chips(data: DataSettings, side: int) -> list[Chip]:
    """Every chip of the data set, ordered by stem and place in the image; only headers are read.

    Raises:
        InputError: if an image lacks its labels, its row, or the grid of its labels.
    """
    images, labels = (_files(data.root, glob) for glob in (data.images[0], data.labels[0]))
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        raise InputError(
            f"{data.root}: {_some(alone)} exist only as image or only as label; "
            "each image needs a label raster of the same stem"
        )
    rows = _table(data)
    if rows and (missing := sorted(images.keys() - rows.keys())):
        raise InputError(f"{data.root / str(data.table)}: has no row for {_some(missing)}")
    chips = []
    for stem, image in images.items():
        shape = _common_shape(image, labels[stem])
        for window in _windows(shape, side):
            chips.append(Chip(stem, image, labels[stem], window, rows.get(stem, {})))
    return chips


def split_chips(
    chips: Sequence[Chip], validation: Selection | None
) -> tuple[list[Chip], list[Chip]]:
    """Training and validation chips: together they are ``chips``, and they share none.

    Raises:
        SettingsError: if the column is not in the table, or one side is empty.
    """
    if validation is None:
        return list(chips), []
    column, values = validation.column, set(validation.values)
    if any(column not in chip.row for chip in chips):
        columns = ", ".join(chips[0].row) or "no table is given"
        raise SettingsError(f"validation: no column {column} in the table (it has: {columns})")
    held = [chip for chip in chips if chip.row[column] in values]
    kept = [chip for chip in chips if chip.row[column] not in values]
    if not held or not kept:
        which = "all of the" if held else "none of the"
        raise SettingsError(
            f"validation: {column} in {_some(sorted(values))} selects {which} {len(chips)} chips; "
            "training and validation both need some"
        )
    return kept, held


def check_labels(chips: Sequence[Chip], data: DataSettings, classes: Sequence[LandClass]) -> None:
    """Read every label once; each value must be a class, ignored, or remapped to one of these.

    Raises:
        InputError: listing the unknown values with their pixel counts.
    """
    counts: Counter[int] = Counter()
    for chip in chips:
        values, pixels = np.unique(_read_labels(chip), return_counts=True)
        counts.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    known = {c.value for c in classes} | set(data.ignore)
    strange = {v: n for v, n in sorted(counts.items()) if data.remap.get(v, v) not in known}
    if set(counts) == {0, 255} and 255 in strange:
        raise InputError(
            f"{data.root}: the labels hold only 0 and 255, as a picture's black and white do; "
            "if 255 marks the second class, add `remap: {255: 1}` (that is `255: 1`) under data"
        )
    if strange:
        listed = _some([f"{value} ({pixels} pixels)" for value, pixels in strange.items()])
        raise InputError(
            f"{data.root}: labels that are no class: {listed}; name them under classes, "
            "data.remap or data.ignore"
        )


def read_chip(
    chip: Chip, data: DataSettings, classes: Sequence[LandClass], side: int
) -> tuple[Image, Labels]:
    """The sample's bands and labels, ``side`` pixels square."""
    bands = _read_bands(chip, data)
    values = _read_labels(chip)
    meaning = {**{c.value: c.value for c in classes}, **data.remap}
    index = {c.value: k for k, c in enumerate(classes)}
    labels = np.full(values.shape, NODATA, np.uint8)
    for value, meant in meaning.items():
        labels[values == value] = index.get(int(meant), NODATA)
    rows, cols = shape_of(chip.window)
    below, beside = (0, side - rows), (0, side - cols)
    return (
        np.pad(bands, (below, beside, (0, 0)), constant_values=np.nan),
        np.pad(labels, (below, beside), constant_values=NODATA),
    )


def _files(root: Path, glob: str) -> dict[str, Path]:
    files = sorted(root.glob(glob))
    if not files:
        raise InputError(f"{root}: no file matches {glob}; check data.root and the pattern")
    by_stem = {path.stem: path for path in files}
    if len(by_stem) < len(files):
        twice = [stem for stem, n in Counter(path.stem for path in files).items() if n > 1]
        raise InputError(f"{root}: {glob} matches several files of stem {_some(sorted(twice))}")
    return by_stem


def _table(data: DataSettings) -> dict[str, dict[str, str]]:
    if data.table is None:
        return {}
    path = data.root / data.table
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from error
    if not rows or data.key not in rows[0]:
        raise InputError(f"{path}: has no column {data.key}; set data.key to the column of stems")
    return {row[data.key]: row for row in rows}


def _windows(shape: tuple[int, int], side: int) -> list[Window]:
    """Windows of at most ``side`` that cover the image; the last ones slide inward to its end."""
    rows, cols = (
        [slice(max(min(i, n - side), 0), min(i + side, n)) for i in range(0, n, side)]
        for n in shape
    )
    return [(row, col) for row in rows for col in cols]


def _common_shape(image: Path, label: Path) -> tuple[int, int]:
    with _opened(image) as x, _opened(label) as y:
        same_place = x.crs is None or y.crs is None or x.crs == y.crs
        if x.crs and y.crs:
            same_place &= x.transform.almost_equals(y.transform, 1e-6 * abs(x.transform.a))
        if x.shape != y.shape or not same_place:
            raise InputError(
                f"{label}: its grid {y.shape} is not that of {image} {x.shape}; "
                "warp the labels with `gdalwarp -r near` to the image's extent and size"
            )
        return x.shape


def _read_bands(chip: Chip, data: DataSettings) -> Image:
    with _opened(chip.image) as file:
        channels = [_channel(chip.image, file, want) for want in data.bands.values()]
        numbers = _pixels(file, chip, channels)
        valid = _pixels(file, chip, channels, masks=True).all(axis=0)
    if data.nodata is not None:
        valid &= (numbers != data.nodata).all(axis=0)
    bands = np.moveaxis(numbers.astype(np.float32), 0, -1)
    valid &= np.isfinite(bands).all(axis=-1)
    bands = bands * np.float32(data.scale or 1) + np.float32(data.offset or 0)
    bands[~valid] = np.nan
    return bands


def _channel(path: Path, file: DatasetReader, want: int | str) -> int:
    if isinstance(want, str):
        if want in file.descriptions:
            return file.descriptions.index(want) + 1
        raise InputError(f"{path}: no band is described {want}; it has {file.descriptions}")
    if not 1 <= want <= file.count:
        raise InputError(f"{path}: has no channel {want}, only 1 to {file.count}")
    return want


def _read_labels(chip: Chip) -> Integer[np.ndarray, "row col"]:
    with _opened(chip.label) as file:
        if file.count != 1 or np.dtype(file.dtypes[0]).kind not in "iu":
            raise InputError(
                f"{chip.label}: labels are one band of whole numbers, but it has "
                f"{file.count} of {file.dtypes[0]}"
            )
        return _pixels(file, chip, [1])[0]


def _pixels(
    file: DatasetReader, chip: Chip, channels: list[int], masks: bool = False
) -> np.ndarray:
    read = file.read_masks if masks else file.read
    try:
        return read(channels, window=RasterWindow.from_slices(*chip.window))
    except RasterioError as error:
        raise InputError(
            f"{file.name}: window {chip.window} cannot be read: {cause_of(error)}; "
            "get the file again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise InputError(f"{path}: not a .tif or .png; convert it with gdal_translate")
    with warnings.catch_warnings():
        # Chips of a published data set often have no georeference, and need none to learn from.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(str(path), driver) as file:
            yield file


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
