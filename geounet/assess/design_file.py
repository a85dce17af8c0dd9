"""How a sample was drawn, as JSON beside the points: what their interpreter is not shown.

The points' file has places only. Strata, and with them hints at the map's classes, are here, with
a SHA-256 over all of it, and the digest of the map that binds the sample to it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from geounet.assess.class_map import ClassMap
from geounet.assess.settings import Allocation, Method
from geounet.atomic import write_bytes
from geounet.card import Frozen
from geounet.errors import InputError

ENDING = ".design.json"
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_SIZE_LIMIT = 256 * 2**20


class RasterRecord(Frozen):
    """Which raster, by its grid and its pixels' values rather than by its bytes or its path."""

    file: str
    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    crs: str
    digest: _Digest


class StratumRecord(Frozen):
    """A stratum and what was drawn in it; the value is None where it is the whole map."""

    name: str
    value: int | None
    pixels: int
    area_m2: float
    points: int


class PointRecord(Frozen):
    """Where a point is in the map, and which stratum it was drawn from."""

    id: int
    row: int
    col: int
    stratum: int


class SampleDesign(Frozen):
    """All that the estimators need to know of how points came to be where they are.

    ``source`` is the raster whose values are the strata: the map itself, unless it was another.
    """

    what: Literal["geounet sample design"] = "geounet sample design"
    version: Literal[1] = 1
    method: Method
    allocation: Allocation | None
    seed: int
    target_se: float | None
    expected_se: float
    map: str
    source: RasterRecord
    strata: tuple[StratumRecord, ...]
    outside_pixels: int
    outside_m2: float
    hidden_ha: float | None
    points: tuple[PointRecord, ...]


def record_of(source: ClassMap, digest: str) -> RasterRecord:
    """What a design remembers of a raster; ``digest`` is that of its census."""
    grid = source.grid
    a, b, c, d, e, f = (float(v) for v in tuple(grid.transform)[:6])
    return RasterRecord(
        file=Path(source.raster.shown).name,
        shape=grid.shape,
        transform=(a, b, c, d, e, f),
        crs=grid.crs.to_wkt(),
        digest=digest,
    )


def design_path(points: Path) -> Path:
    """Where the design of a file of points lies: ``sample.gpkg`` → ``sample.design.json``."""
    return points.with_name(points.stem + ENDING)


def write_design(path: Path, design: SampleDesign) -> None:
    """``path`` holds the design and its SHA-256."""
    content = design.model_dump(mode="json")
    text = json.dumps(content | {"sha256": _digest(content)}, indent=1, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_design(path: Path) -> SampleDesign:
    """The design, if the file is as it was written.

    Raises:
        InputError: if it cannot be read, is no design, or was changed.
    """
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_SIZE_LIMIT))
        written = content.pop("sha256")
        design = SampleDesign.model_validate(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except (ValueError, ValidationError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no design of a sample; give the {ENDING} that `geounet assess design` "
            "wrote, with --design"
        ) from error
    if written != _digest(design.model_dump(mode="json")):
        raise InputError(
            f"{path}: was changed after the sample was drawn, so it cannot be trusted; take the "
            "file that `geounet assess design` wrote, or draw again with the same seed"
        )
    return design


def _digest(content: dict[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
