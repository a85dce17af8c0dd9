"""A map of change, summed by zone: hectares of each class in each district."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path

import numpy as np
import shapely
from rasterio.features import rasterize

from geounet.area import HECTARE, PixelArea
from geounet.card import NODATA, LandClass
from geounet.change import Made
from geounet.csv_table import Cell, write_csv
from geounet.grid import Grid
from geounet.raster import read_header
from geounet.resample import Part, read_on
from geounet.zones import Zones

TOTAL = "total"
Sums = dict[tuple[int, int | str], list[float]]
"""Square metres by zone and class value, or ``total`` for all of the zone that the scene holds."""


@dataclass(frozen=True)
class ZoneRow:
    """Hectares of a zone: on the scene, mapped, of each class, and of the classes asked about.

    The share is that of the mapped area; None where nothing is mapped.
    """

    zone: str
    on_scene_ha: float
    mapped_ha: float
    classes_ha: dict[str, float]
    of_ha: float
    share: float | None


def write_zone_table(path: Path, made: Made, what: str, share_of: Sequence[int]) -> Path:
    """A line per zone, and the same for the report: hectares of each class, and a share.

    The share is that of the classes ``share_of``, called ``what``. A pixel belongs to every zone
    that its centre lies in.

    Raises:
        OutputError: if the table cannot be written.
    """
    zones, classes = made.prepared.zones, made.source.classes
    if zones is None:
        return path
    rows = _rows(_sums(made, zones), zones, classes, share_of)
    columns = [f"{c.name.replace(' ', '_')}_ha" for c in classes]
    header = ["zone", "on_scene_ha", "mapped_ha", *columns, f"{what.replace(' ', '_')}_share"]
    lines: Iterator[Sequence[Cell]] = (
        [row.zone, row.on_scene_ha, row.mapped_ha, *row.classes_ha.values(), row.share]
        for row in rows
    )
    write_csv(path, header, lines)
    made.told["zones"] = {"of": what, "rows": [asdict(row) for row in rows]}
    return path


def _rows(
    sums: Sums, zones: Zones, classes: Sequence[LandClass], share_of: Sequence[int]
) -> list[ZoneRow]:
    rows = []
    for zone, name in enumerate(zones.names):
        parts = {c.value: fsum(sums.get((zone, c.value), ())) / HECTARE for c in classes}
        whole, mapped = fsum(sums.get((zone, TOTAL), ())) / HECTARE, fsum(parts.values())
        asked = fsum(parts[value] for value in share_of)
        named = {c.name: parts[c.value] for c in classes}
        rows.append(ZoneRow(name, whole, mapped, named, asked, asked / mapped if mapped else None))
    return rows


def _sums(made: Made, zones: Zones) -> Sums:
    """Read mask.tif tile by tile; what is held is a number for each tile, zone and class."""
    grid = made.source.grid
    sums: Sums = defaultdict(list)
    area = PixelArea(grid)
    mask = Part(read_header(str((made.out / "mask.tif").resolve())), (1,), (None,), "nearest")
    tree = shapely.STRtree(zones.pieces)
    # Not only the tiles inside an area of interest: a zone is as large as it is.
    for tile in made.prepared.plan.plan.tiles:
        part = grid[tile.core]
        pieces = tree.query(shapely.Polygon(part.corners), predicate="intersects")
        if not len(pieces):
            continue
        labels = read_on(mask, grid, tile.core)[0][..., 0]
        metres = area.window(tile.core)
        for zone in np.unique(zones.zone_of[pieces]).tolist():
            here = _burnt(zones.pieces[pieces[zones.zone_of[pieces] == zone]], part)
            found, size = labels[here], metres[here]
            sums[zone, TOTAL].append(float(size.sum()))
            totals = np.bincount(found, weights=size, minlength=NODATA + 1)
            for value in np.flatnonzero(totals).tolist():
                sums[zone, value].append(float(totals[value]))
    return sums


def _burnt(pieces: np.ndarray, grid: Grid) -> np.ndarray:
    """True for pixels whose centre lies in one of the pieces."""
    parts = shapely.get_parts(pieces)
    areas = parts[shapely.get_dimensions(parts) == 2].tolist()
    burnt = rasterize(areas, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    return burnt > 0
