"""Peak memory and rate of `flood` on a drawn pair of 10980² pixels, a whole Sentinel-2 tile twice.

    python -m benchmarks.pair --out out/bench [--side 10980] [--format gpkg]

The job runs in a process of its own, with its report and polygons; its peak is what the kernel
counted. At most 6 GB is wanted on a CPU. The pair is drawn once and kept in OUT.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from geounet.grid import Grid
from geounet.synthetic import MadePair
from geounet.synthetic_files import MadeFiles, write_pair

TIMES = 6
JOB = """
import json, resource, sys, time
from geounet.pipelines.flood import flood
from geounet.change_settings import FloodSettings
before, after, clouds, out, *formats = sys.argv[1:]
masked = (f"{clouds}:values=1,2",)
started = time.monotonic()
settings = FloodSettings(mask_after=masked, formats=formats, overwrite=True)
found = flood(before, after, out, settings=settings)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([peak, time.monotonic() - started, found.features]))
"""


def pair_at(folder: Path, side: int) -> MadeFiles:
    """The pair, if it is not there: one of a sixth of the side, over and over."""
    part = side // TIMES
    grid = Grid((part, part), Affine(10, 0, 600_000, 0, -10, 5_000_040), CRS.from_epsg(32633))
    place = folder / f"pair-{side}"
    names = MadeFiles(*(place / f"made_flood_0_{name}.tif" for name in MadeFiles._fields))
    if not all(path.exists() for path in names):
        place.mkdir(parents=True, exist_ok=True)
        drawn = write_pair(MadePair(grid), made(folder / f"pair-{part}"), overwrite=True)
        for source, target in zip(drawn, names, strict=True):
            repeat(source, target)
    return names


def repeat(source: Path, target: Path) -> None:
    """Write an image over and over, a row of it at a time."""
    with rasterio.open(source) as file:
        image, profile, tags = file.read(), file.profile, file.tags()
        descriptions = file.descriptions
    _, rows, cols = image.shape
    profile.update(
        height=TIMES * rows, width=TIMES * cols, tiled=True, blockxsize=512, blockysize=512
    )
    part = target.with_suffix(".part.tif")
    with rasterio.open(part, "w", **profile) as file:
        file.update_tags(**tags)
        file.descriptions = descriptions
        wide = np.tile(image, (1, 1, TIMES))
        for k in range(TIMES):
            file.write(wide, window=Window(0, k * rows, TIMES * cols, rows))
    part.rename(target)


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--side", type=int, default=10980)
    parser.add_argument("--format", nargs="+", default=["gpkg"])
    args = parser.parse_args()
    files = pair_at(args.out, args.side)
    out = args.out / f"flood-{args.side}"
    given = [files.before, files.after, files.clouds, out, *args.format]
    command = [sys.executable, "-c", JOB, *map(str, given)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds, features = json.loads(done.stdout.splitlines()[-1])
    peak *= 1 if sys.platform == "darwin" else 1024
    pixels = 2 * args.side**2
    print(
        f"2 × {args.side}²: peak {peak / 1e9:.2f} GB, {seconds:.0f} s, "
        f"{pixels / seconds / 1e6:.2f} Mpx/s, {features} polygons"
    )
    figures = {"side": args.side, "peak_bytes": peak, "seconds": seconds, "features": features}
    (args.out / "pair.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
