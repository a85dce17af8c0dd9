"""What a finished job says of itself: report.json, and report.html with pictures of its scenes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import fsum, isnan, prod
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.enums import Resampling

from geounet.assess.accuracy_file import area_fields
from geounet.atomic import write_bytes
from geounet.fingerprint import sha256_of
from geounet.grid import Grid, shape_of
from geounet.job_page import job_page
from geounet.outputs import REPORTS, MapSource, Results
from geounet.preview import stretched
from geounet.scene import Scene
from geounet.sensors import credit
from geounet.vector_formats import base_of, ending_of
from geounet.viewer import View

LONGEST_SIDE = 1000
MOST_OUTLINES = 3000
"""Polygons that a page draws; a browser, and whoever looks, would drown in more."""
_STRIP_ROWS = 512
"""A block of a usual GeoTIFF: of fewer rows, each block would be decoded over and over."""
DRAWN_AS = (("swir1", "nir", "green"), ("nir", "red", "green"), ("red", "green", "blue"))
"""Band triplets as red, green, blue; the first that the scene has is drawn."""


def write_reports(
    results: Results,
    source: MapSource,
    dates: Sequence[Sequence[Scene]],
    about: Mapping[str, Any],
) -> None:
    """report.html, then report.json with the same numbers, which marks the job as finished.

    Args:
        results: of the job.
        source: what is mapped.
        dates: the scenes of each, the oldest first, all on one grid.
        about: what else the job has to say; ``measure`` names what its confidence is.
    """
    scenes = [scene for date in dates for scene in date]
    report = plain(_report(results, source, scenes, about))
    shown = dates if len(dates) == 1 else (dates[0], dates[-1])
    html = job_page(report, view_of(shown, results), about["title"])
    write_bytes(results.out / "report.html", html)
    text = json.dumps(report, indent=2, sort_keys=True, allow_nan=False)
    write_bytes(results.out / "report.json", text.encode() + b"\n")


def _report(
    results: Results, source: MapSource, scenes: Sequence[Scene], about: Mapping[str, Any]
) -> dict[str, Any]:
    rows, cols = source.grid.shape
    run = dict(about["run"])
    seconds = max(run["labelling_s"], 0.001)
    km2 = (fsum(row.area_ha for row in results.classes) + results.hidden_ha) / 100
    return {
        "classes": [asdict(row) for row in results.classes],
        "colours": {str(c.value): c.colour for c in source.classes},
        "hidden_ha": results.hidden_ha,
        "nodata_pixels": results.nodata_pixels,
        "valid_share": 1 - results.nodata_pixels / (rows * cols),
        "features": results.features,
        **area_fields(results.out),
        "files": [file.name for file in results.files],
        "credits": sorted({text for s in scenes for text in credit(s.sensor, s.date)}),
        "confidence": {"measure": about["measure"], "counts": _by_confidence(source)},
        **about,
        "run": run
        | {
            "pixels_per_s": _computed(source) / seconds,
            "km2_per_s": km2 / seconds,
            "sha256": {f.name: sha256_of(f) for f in results.files if f.name not in REPORTS},
        },
    }


def _computed(source: MapSource) -> int:
    """Pixels of the tiles that went through the network: those without any data did not."""
    done = (tile for tile in source.tiles if not source.records[tile.name].is_empty)
    return sum(prod(shape_of(tile.core)) for tile in done)


def plain(value: Any) -> Any:
    """JSON has no NaN: an area that the CRS cannot give is null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value


def _by_confidence(source: MapSource) -> dict[str, list[int]]:
    """Pixels of each class in equal steps of confidence."""
    found = {}
    for land_class in source.classes:
        key = str(land_class.value)
        counts = [r.confidence[key] for r in source.records.values() if key in r.confidence]
        if counts:
            found[land_class.name] = np.sum(counts, axis=0).tolist()
    return found


def view_of(dates: Sequence[Sequence[Scene]], results: Results) -> View:
    """Pictures of the scenes, of the mask, and the outlines, in bounded memory."""
    first = dates[0][0]
    grid, step = first.grid, decimation(first.grid)
    outlines, outlined = outlines_of(results, grid, step)
    drawn = "" if len(outlines) else _why_no_outlines(results)
    size = f"One pixel here is {step} of the scene's. " if step > 1 else ""
    return View(
        tuple(stretched(_side_by_side(scenes, step)) for scenes in dates),
        tuple(_label(scenes) for scenes in dates),
        labels_of(results, grid, step),
        results.legend,
        outlines,
        outlined,
        f"{size}Drawn from {', '.join(_drawn_bands(first))}. {drawn}".strip(),
    )


def decimation(grid: Grid) -> int:
    """Of how many pixels a side a picture shows one."""
    return max(1, -(-max(grid.shape) // LONGEST_SIDE))


def labels_of(results: Results, grid: Grid, step: int) -> np.ndarray:
    """The mask, decimated."""
    shape = tuple(-(-n // step) for n in grid.shape)
    with rasterio.open((results.out / "mask.tif").absolute()) as file:
        return file.read(1, out_shape=shape, resampling=Resampling.nearest)


def image_of(scene: Scene, step: int) -> np.ndarray:
    """Every ``step``-th pixel of three bands, NaN without data; read in strips."""
    chosen, (rows, cols) = scene.select(_drawn_bands(scene)), scene.grid.shape
    height = step * max(1, _STRIP_ROWS // step)
    strips = []
    for row in range(0, rows, height):
        pixels = chosen.read((slice(row, min(row + height, rows)), slice(0, cols)))
        seen = (pixels.valid | pixels.hidden)[::step, ::step, None]
        strips.append(np.where(seen, pixels.bands[::step, ::step], np.nan))
    return np.concatenate(strips)


def outlines_of(results: Results, grid: Grid, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The job's polygons in the picture's pixels, and their class values; none if too many."""
    file = _readable(results)
    if file is None or results.features > MOST_OUTLINES:
        return np.empty(0, object), np.empty(0, np.int64)
    frame = pyogrio.read_dataframe(file, columns=["class_id"], layer=0).to_crs(grid.crs.to_wkt())
    to_pixels = ~grid.transform
    shapes = shapely.transform(
        frame.geometry.to_numpy(),
        lambda xy: np.stack(to_pixels @ (xy[:, 0], xy[:, 1]), axis=-1) / step,
    )
    return shapely.simplify(shapes, 0.5 if step > 1 else 0.0), frame.class_id.to_numpy()


def _readable(results: Results) -> Path | None:
    vectors = [f for f in results.files if base_of(f) == "features" and ending_of(f) != ".pmtiles"]
    return vectors[0].absolute() if vectors else None


def _why_no_outlines(results: Results) -> str:
    if results.features > MOST_OUTLINES:
        return f"{results.features:,} polygons are too many to draw here: open them in a GIS."
    return ""


def _drawn_bands(scene: Scene) -> tuple[str, ...]:
    have = {band.name for band in scene.bands}
    return next((t for t in DRAWN_AS if have.issuperset(t)), (scene.bands[0].name,))


def _side_by_side(scenes: Sequence[Scene], step: int) -> np.ndarray:
    """The scenes as one image: where they overlap, the first."""
    image = image_of(scenes[0], step)
    for scene in scenes[1:]:
        image = np.where(np.isnan(image), image_of(scene, step), image)
    return image


def _label(scenes: Sequence[Scene]) -> str:
    first = scenes[0]
    if len(scenes) > 1:
        return f"{len(scenes)} scenes"
    return f"{first.name} {first.date}" if first.date else first.name
