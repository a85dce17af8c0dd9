"""Which images, labels and table rows belong together: by the stem of their names."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geounet.errors import InputError
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import some
from geounet.locations import is_remote, locate, shown

SIDECARS = (".aux.xml", ".ovr", ".msk", ".tfw", ".tifw", ".pgw", ".wld", ".prj", ".qml", ".imd")
"""Endings of files that lie beside rasters and are none."""
WILD = "*?["


@dataclass(frozen=True)
class Pair:
    """An image and its labels, as located files, with the image's row of the table."""

    name: str
    image: str
    label: str
    row: dict[str, str] = field(default_factory=dict)


def find_pairs(data: DataSettings) -> list[Pair]:
    """Every image with its labels and row, ordered by name; no file but the table is opened.

    Raises:
        InputError: if a pattern matches nothing, or an image lacks its labels or its row.
    """
    images = _by_name(data, data.images)
    labels = _labels_of(data, sorted(images))
    rows = _table(data)
    if rows and (missing := sorted(images.keys() - rows.keys())):
        raise InputError(
            f"{data.root / str(data.table)}: has no row for {some(missing)}; add them, or choose "
            "the images with data.images"
        )
    return [Pair(n, images[n], labels[n], rows.get(n, {})) for n in sorted(images)]


def _labels_of(data: DataSettings, names: Sequence[str]) -> dict[str, str]:
    """Label file by image name: one per stem, or a single file for all."""
    found = _by_name(data, data.labels)
    if len(data.labels) == len(found) == 1 and not _is_glob(data.root, data.labels[0]):
        return dict.fromkeys(names, *found.values())
    alone = sorted(set(names) ^ found.keys())
    if alone:
        raise InputError(
            f"{data.root}: {some(alone)} exist only as image or only as label; each image needs "
            "labels of the same stem, or name a single label file for all under data.labels"
        )
    return found


def _by_name(data: DataSettings, patterns: Sequence[str]) -> dict[str, str]:
    root = data.root
    files = [file for pattern in patterns for file in _matches(root, pattern, data.allow_private)]
    files = list(dict.fromkeys(files))
    names = [name_of(file) for file in files]
    twice = sorted(name for name, n in Counter(names).items() if n > 1)
    if twice:
        raise InputError(
            f"{root}: {some(patterns)} matches several files of stem {some(twice)}; "
            "narrow the pattern or rename them"
        )
    return dict(zip(names, files, strict=True))


def _matches(root: Path, pattern: str, allow_private: bool) -> list[str]:
    if is_remote(pattern) or not _is_glob(root, pattern):
        file = locate(pattern, root, allow_private)
        if not is_remote(file) and not Path(file).exists():
            raise InputError(f"{file}: does not exist; check data.root and the path")
        return [file]
    base, glob = root, pattern
    if Path(pattern).is_absolute():
        base, glob = (
            Path(Path(pattern).anchor),
            str(Path(pattern).relative_to(Path(pattern).anchor)),
        )
    found = [path for path in sorted(base.glob(glob)) if not path.name.lower().endswith(SIDECARS)]
    if not found:
        raise InputError(f"{root}: no file matches {pattern}; check data.root and the pattern")
    return [locate(path) for path in found]


def _is_glob(root: Path, pattern: str) -> bool:
    return any(sign in pattern for sign in WILD) and not (root / pattern).exists()


def name_of(file: str) -> str:
    """A file's stem, a folder's name without .SAFE; a scene.yaml has the name of its folder."""
    path = Path(shown(file))
    if path.name.lower() in ("scene.yaml", "scene.yml"):
        path = path.parent
    return path.name.removesuffix(".SAFE") if not is_remote(file) and path.is_dir() else path.stem


def _table(data: DataSettings) -> dict[str, dict[str, str]]:
    if data.table is None:
        return {}
    path = data.root / data.table
    try:
        # Spreadsheets begin a file with a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or ()
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); check data.table") from error
    if data.key not in columns:
        raise InputError(
            f"{path}: has no column {data.key}, only {some(columns) or 'none'}; set data.key to "
            "the column of stems, and separate columns by commas"
        )
    rows: dict[str, dict[str, str]] = {}
    for line, row in lines:
        _check_row(path, line, row, len(columns))
        if row[data.key] in rows:
            raise InputError(
                f"{path}: line {line} is the second of {row[data.key]}; remove one of the two"
            )
        rows[row[data.key]] = row
    return rows


def _check_row(path: Path, line: int, row: dict[str, str], columns: int) -> None:
    """DictReader puts what is beyond the header under None, and None where a cell is missing."""
    cause = "more" if None in row else "fewer" if None in row.values() else ""
    if cause:
        raise InputError(
            f"{path}: line {line} has {cause} cells than the header's {columns}; correct it, and "
            "put cells that hold commas in quotes"
        )
