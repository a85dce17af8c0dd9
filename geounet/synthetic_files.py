"""A made pair of scenes as GeoTIFFs: before, after, the cloud mask, the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy import ndarray
from rasterio.errors import RasterioError
from rasterio.windows import Window as FileWindow

from geounet.grid import Grid, Window
from geounet.placing import check_free, folder_beside, named, place
from geounet.sensors import DATE_TAG, MADE_TAG
from geounet.synthetic import BANDS, SCALE, MadePair

SIDE = 512
_DATES = ("2020-06-01", "2020-08-15")


class MadeFiles(NamedTuple):
    """Where the parts of a made pair lie; ``clouds`` is of the second date."""

    before: Path
    after: Path
    clouds: Path
    truth: Path


def write_pair(pair: MadePair, folder: Path, *, overwrite: bool = False) -> MadeFiles:
    """Draw a pair window by window into a folder; every name and every file says that it was made.

    ``clouds`` holds 0 clear, 1 cloud, 2 shadow; ``truth`` 1 where the land changed.

    Raises:
        OutputError: if a file exists or cannot be written.
    """
    stem = f"made_{pair.event}_{pair.seed}"
    names = ("before", "after", "clouds", "truth")
    files = MadeFiles(*(folder / f"{stem}_{name}.tif" for name in names))
    for path in files:
        check_free(path, overwrite=overwrite)
    views: tuple[Callable[[Window], ndarray], ...] = (
        lambda window: pair.view(window, 0),
        lambda window: pair.view(window, 1),
        lambda window: pair.sky(window, 1)[..., None],
        lambda window: pair.changed(window)[..., None].astype(np.uint8),
    )
    about = {MADE_TAG: "yes", "GEOUNET_SEED": str(pair.seed), "GEOUNET_EVENT": pair.event}
    for date, (path, view) in enumerate(zip(files, views, strict=True)):
        if date < 2:
            dated = about | {DATE_TAG: _DATES[date]}
            _write(path, pair.grid, view, BANDS, dated)
        else:
            _write(path, pair.grid, view, (names[date],), about)
    return files


def _write(
    path: Path,
    grid: Grid,
    view: Callable[[Window], ndarray],
    bands: Sequence[str],
    tags: dict[str, str],
) -> None:
    scene = len(bands) > 1
    profile = {
        "driver": "GTiff",
        "height": grid.shape[0],
        "width": grid.shape[1],
        "count": len(bands),
        "dtype": "uint16" if scene else "uint8",
        "crs": grid.crs,
        "transform": grid.transform,
        "tiled": True,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    with folder_beside(path) as folder, named(path, RasterioError, OSError):
        new = folder / path.name
        with rasterio.open(new, "w", **profile, **({"nodata": 0} if scene else {})) as data:
            data.descriptions = tuple(bands)
            data.update_tags(**tags)
            if scene:
                data.scales, data.offsets = (SCALE,) * len(bands), (0.0,) * len(bands)
            for window in _windows(grid.shape):
                part = np.moveaxis(view(window), 2, 0)
                data.write(part, window=FileWindow.from_slices(*window))
        place(folder, path)


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    for row in range(0, shape[0], SIDE):
        for col in range(0, shape[1], SIDE):
            yield (slice(row, min(row + SIDE, shape[0])), slice(col, min(col + SIDE, shape[1])))
