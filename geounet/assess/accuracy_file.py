"""accuracy.json: an assessment on disk, and how the report of a job takes its areas.

It is bound to the mask by the fingerprint of its file, so that areas never outlive the map that
they were estimated for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geounet.assess.class_map import ClassMap
from geounet.atomic import write_bytes
from geounet.errors import GeounetError, OutputError
from geounet.fingerprint import fingerprint_of
from geounet.job_page import with_areas
from geounet.locations import is_remote
from geounet.raster import read_header

NAME, MASK = "accuracy.json", "mask.tif"
REPORT, PAGE = "report.json", "report.html"
PIXEL_COUNT = "pixel count, no accuracy assessment"


@dataclass(frozen=True)
class AdjustedArea:
    """The error-adjusted area of a class, in hectares, with its 95 % interval."""

    name: str
    area_ha: float
    margin_ha: float
    low_ha: float
    high_ha: float


@dataclass(frozen=True)
class AdjustedAreas:
    """The areas that a job's report takes over its pixel counts."""

    points: int
    classes: tuple[AdjustedArea, ...]

    @property
    def says(self) -> str:
        return f"error-adjusted, from a probability sample of {self.points} points ({NAME})"


def accuracy_path(out: Path, map_file: str | Path) -> Path:
    """``--out`` may be a folder, and then means its accuracy.json.

    Raises:
        OutputError: if it is the folder of another map's job.
    """
    if not out.is_dir():
        return out
    own = out / MASK
    if own.exists() and own.resolve() != Path(map_file).resolve():
        raise OutputError(
            f"{out}: holds the map of another job, and {map_file} is judged; give that map's "
            "folder, or the name of a file to write"
        )
    return out / NAME


def write_accuracy(path: Path, content: Mapping[str, Any], source: ClassMap) -> bool:
    """Write an assessment; returns whether the report of the map's job took its areas.

    Raises:
        OutputError: if the file cannot be written.
    """
    bound = {**content, "map_fingerprint": fingerprint_of(source.raster)}
    write_bytes(path, _text(bound))
    report, own = _job_report(source), path.resolve() == _beside(source).resolve()
    if report is None or not own or adjusted_areas(path.parent) is None:
        return False
    report |= area_fields(path.parent)
    _renew_page(path.with_name(PAGE), report)
    write_bytes(_beside(source, REPORT), _text(report))
    return True


def adjusted_areas(folder: Path) -> AdjustedAreas | None:
    """The areas of a job's accuracy.json; None where pixel counts are all that there is.

    That is: no such file, one of another mask, or of a sample that is no probability sample.
    """
    try:
        content = json.loads((folder / NAME).read_bytes())
        classes = tuple(_adjusted(row) for row in content["classes"])
        sample, bound = content["sample"], content["map_fingerprint"]
        if not sample["probability_sample"]:
            return None
        mask = fingerprint_of(read_header(str(folder / MASK)))
    except (OSError, ValueError, KeyError, TypeError, GeounetError):
        return None
    # Through JSON, as the one that was written: tuples come back as lists.
    same = bound == json.loads(json.dumps(mask))
    return AdjustedAreas(sample["interpreted"], classes) if same else None


def area_fields(folder: Path) -> dict[str, Any]:
    """What report.json says of the areas of a job: adjusted ones over pixel counts, if there."""
    areas = adjusted_areas(folder)
    if areas is None:
        return {"areas": PIXEL_COUNT}
    return {"areas": areas.says, "adjusted_areas": [asdict(row) for row in areas.classes]}


def _renew_page(path: Path, report: Mapping[str, Any]) -> None:
    with suppress(FileNotFoundError):
        write_bytes(path, with_areas(path.read_bytes(), report))


def hidden_hectares(source: ClassMap) -> float | None:
    """What the job that made a map says a cloud mask hid; None where it says nothing."""
    report = _job_report(source)
    hidden = report.get("hidden_ha") if report else None
    return float(hidden) if isinstance(hidden, int | float) else None


def _job_report(source: ClassMap) -> dict[str, Any] | None:
    if is_remote(source.raster.file) or Path(source.raster.file).name != MASK:
        return None
    try:
        report = json.loads(_beside(source, REPORT).read_bytes())
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _beside(source: ClassMap, name: str = NAME) -> Path:
    return Path(source.raster.file).with_name(name)


def _adjusted(row: Mapping[str, Any]) -> AdjustedArea:
    area = row["area_ha"]
    return AdjustedArea(row["name"], area["value"], area["margin"], area["low"], area["high"])


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
