"""How long training waits for data that comes from a compressed GeoTIFF.

    python -m benchmarks.train_wait --out OUT [--side 4096] [--batches 40]

A made scene of six uint16 bands (deflate, 512 blocks) with a class raster on its grid, a U-Net of
depth 4 and base 16, batches of eight chips of 256 pixels at random places. Three runs: the usual
variation of samples with as much memory for decoded pixels as a training takes by default; the same
with a quarter of what the scene needs; and with none, where every chip decodes its blocks again.
``waited`` is the share of an epoch's time in which the device had no batch; the second epoch is
shown, as the first compiles.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.made import BANDS, make_scene
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training import train


def make_set(folder: Path, side: int) -> None:
    """The scene, and labels: where near infrared is above its median."""
    image = make_scene(folder / "images" / "scene.tif", side)
    target = folder / "labels" / "scene.tif"
    target.parent.mkdir(exist_ok=True)
    with rasterio.open(image) as source:
        profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": None, "predictor": 1}
        with rasterio.open(target, "w", **profile) as file:
            for _, window in source.block_windows(1):
                bright = source.read(4, window=window) > 1200
                file.write(bright.astype(np.uint8), 1, window=window)


def settings_of(folder: Path, batches: int, cache_mb: int) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "name": "waiting",
            "classes": [
                {"value": 0, "name": "dark", "colour": "#000000"},
                {"value": 1, "name": "bright", "colour": "#ffffff"},
            ],
            "data": {
                "root": folder,
                "images": "images/*.tif",
                "labels": "labels/*.tif",
                "bands": list(BANDS),
                "scale": 1e-4,
            },
            "network": {"depth": 4, "base_filters": 16},
            "augment": {"zoom": [0.7, 1.4], "gain": 0.1, "noise": 0.005},
            "sampling": {"kind": "random", "batches": batches},
            "chip": 256,
            "batch": 8,
            "epochs": 2,
            "cache_mb": cache_mb,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--batches", type=int, default=40)
    args = parser.parse_args()
    make_set(args.out / "set", args.side)
    needed = args.side**2 * (4 * len(BANDS) + 1) // 2**20
    print("| memory for decoded pixels | samples/s | waited |\n|---|---|---|")
    for cache_mb in (1024, needed // 4, 0):
        run = args.out / f"run{cache_mb}"
        shutil.rmtree(run, ignore_errors=True)
        record = train(settings_of(args.out / "set", args.batches, cache_mb), run).epochs[-1]
        shown = f"{cache_mb} MB of {needed}"
        print(
            f"| {shown} | {record['samples_per_second']:.2f} | {record['waited']:.1%} |", flush=True
        )


if __name__ == "__main__":
    main()
