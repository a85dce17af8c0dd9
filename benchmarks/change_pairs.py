"""How well the shipped models find drawn change: jobs on made pairs whose truth is known.

    python -m benchmarks.change_pairs [SIZE]

Made pairs show whether a job puts change where change is, with clouds, haze, holes and noise; they
say nothing of how good a model is on Earth.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import rasterio
from affine import Affine
from geounet.pipelines.flood import NEW, flood
from rasterio.crs import CRS

from geounet.card import NODATA
from geounet.change_settings import FloodSettings
from geounet.grid import Grid
from geounet.synthetic import MadePair
from geounet.synthetic_files import write_pair

SEEDS = range(5)


def read(path: Path):
    with rasterio.open(path) as file:
        return file.read(1)


def scores(found, truth) -> str:
    hit = (found & truth).sum()
    iou, precision = hit / (found | truth).sum(), hit / max(found.sum(), 1)
    return f"IoU {iou:.3f}  precision {precision:.3f}  recall {hit / truth.sum():.3f}"


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    grid = Grid((size, size), Affine(30, 0, 500_000, 0, -30, 5_000_000), CRS.from_epsg(32633))
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as name:
            files = write_pair(MadePair(grid, seed), Path(name))
            truth, clouds = read(files.truth) > 0, read(files.clouds) > 0
            for how, rule in (("mask", (f"{files.clouds}:values=1,2",)), ("no mask", ())):
                settings = FloodSettings(mask_after=rule, formats=("none",), overwrite=True)
                flood(files.before, files.after, Path(name) / "out", settings=settings)
                mask = read(Path(name) / "out" / "mask.tif")
                seen = (mask != NODATA) & truth.any()
                print(
                    f"seed {seed}  {how:8} {scores((mask == NEW)[seen], truth[seen])}  "
                    f"flooded {truth.mean():.0%}  under cloud or shadow {clouds.mean():.0%}"
                )


if __name__ == "__main__":
    main()
