"""Polygons: how fast, against the usual way; how exact, on real masks; and in how much memory.

    python -m benchmarks.polygons speed [--side 4096] [--rounds 5]
    python -m benchmarks.polygons write [--side 10980] --out FOLDER
    python -m benchmarks.polygons exact MASK...
    python -m benchmarks.polygons memory --out FOLDER [--format gpkg]
    python -m benchmarks.polygons noise --out FOLDER

``speed`` traces a drawn mask of four classes from an array to a GeoDataFrame, ours and by
rasterio.features.shapes and shapely, in turn. ``write`` times an array to a GeoPackage.
``exact`` compares the polygons of class rasters with GDAL's, and with our own on other lattices.
``memory`` prints the peak of processes that vectorise masks of 8192² and 16384² pixels with as many
polygons per area, what large features take, and the writer's index. ``noise`` vectorises 20 million
regions.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import shapes

from geounet.class_raster import ClassRaster
from geounet.errors import SettingsError
from geounet.features import Features
from geounet.grid import Grid
from geounet.polygon_array import PolygonArray, concatenated
from geounet.polygonize import PolygonOptions, polygonize
from geounet.polygons.cracks import VOID
from geounet.raster import read_header
from geounet.style import MapClass, default_colour
from geounet.vector import VectorLayer, write_features
from geounet.vector_settings import VectorSettings
from geounet.vectorization import vectorize

ROUGHNESS = 1.36
"""Exponent of the drawn relief's spectrum: about 130,000 polygons on 4096² pixels."""


def fractal_mask(side: int, seed: int = 0, tile: int = 4096) -> np.ndarray:
    """Four classes of a drawn relief; larger ones repeat it, so that density is the same."""
    n = min(side, tile)
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((n, n)).astype(np.float32))
    steps = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    steps[0, 0] = 1
    relief = np.fft.irfft2(spectrum * steps**-ROUGHNESS, s=(n, n))
    classes = np.digitize(relief, np.quantile(relief[::8, ::8], [0.25, 0.5, 0.75]))
    times = -(-side // n)
    return np.tile(classes.astype(np.uint8), (times, times))[:side, :side]


def grid_of(mask: np.ndarray) -> Grid:
    return Grid(mask.shape, Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))


def ours(mask: np.ndarray) -> geopandas.GeoDataFrame:
    batches = list(polygonize(mask, grid_of(mask)))
    names = ("class_id", "n_px", "area_ha", "perimeter_m")
    columns = {name: np.concatenate([getattr(b, name) for b in batches]) for name in names}
    polygons = np.concatenate([batch.polygon for batch in batches])
    return geopandas.GeoDataFrame(columns, geometry=polygons, crs=grid_of(mask).crs)


def usual(mask: np.ndarray) -> geopandas.GeoDataFrame:
    grid = grid_of(mask)
    found = shapes(mask, connectivity=4, transform=grid.transform)
    pairs = [(int(value), shapely.geometry.shape(shape)) for shape, value in found]
    columns = {"class_id": [value for value, _ in pairs]}
    return geopandas.GeoDataFrame(columns, geometry=[p for _, p in pairs], crs=grid.crs)


def speed(args: argparse.Namespace) -> None:
    mask = fractal_mask(args.side)
    list(polygonize(mask[:64, :64], grid_of(mask[:64, :64])))
    # ^ The loops are compiled, or read from disk, once.
    ratios = []
    for _ in range(args.rounds):
        seconds = []
        for way in (ours, usual):
            started = time.perf_counter()
            frame = way(mask)
            seconds.append(time.perf_counter() - started)
            count = len(frame)
            # What the other way made is not this one's to tidy up.
            del frame
            gc.collect()
        ratios.append(seconds[1] / seconds[0])
        print(f"{count} polygons: ours {seconds[0]:.2f} s, usual {seconds[1]:.2f} s, "
              f"ratio {ratios[-1]:.1f}", flush=True)  # fmt: skip
    print(f"median ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def write(args: argparse.Namespace) -> None:
    mask = fractal_mask(args.side)
    list(polygonize(mask[:64, :64], grid_of(mask[:64, :64])))
    started = time.perf_counter()
    frame = ours(mask)
    print(f"{len(frame)} polygons, {shapely.get_num_coordinates(frame.geometry).sum()} vertices, "
          f"to a GeoDataFrame: {time.perf_counter() - started:.1f} s", flush=True)  # fmt: skip
    del frame
    classes = tuple(MapClass(k, f"class {k}", default_colour(k)) for k in range(4))
    started = time.perf_counter()
    layer = VectorLayer(grid_of(mask), classes)
    write_features(polygonize(mask, layer.grid), layer, [args.out / "f.gpkg"], overwrite=True)
    print(f"to a GeoPackage: {time.perf_counter() - started:.1f} s")


def exact(args: argparse.Namespace) -> None:
    for path in args.masks:
        raster = ClassRaster(read_header(str(path)))
        labels = raster(raster.raster.grid.whole)
        if args.nodata_too:
            labels[labels == VOID] = -1
        grid = raster.raster.grid
        found = [_whole(polygonize(labels, grid, PolygonOptions(nodata=VOID), side=side))
                 for side in (2048, 1000)]  # fmt: skip
        assert np.array_equal(*(shapely.to_wkb(f.polygon) for f in found))
        assert np.array_equal(found[0].area_ha, found[1].area_ha, equal_nan=True)
        traced = shapes(labels, mask=labels != VOID, connectivity=4, transform=grid.transform)
        theirs = [(int(value), shapely.geometry.shape(shape)) for shape, value in traced]
        values = [value for value, _ in theirs]
        gdal = _corners(np.array([polygon for _, polygon in theirs], object), grid)
        mine = _corners(found[0].polygon, grid)
        pairs = zip(found[0].class_id.tolist(), mine, strict=True)
        assert sorted(pairs) == sorted(zip(values, gdal, strict=True))
        assert shapely.is_valid(found[0].polygon).all()
        print(f"{path.name}: {grid.shape[0]} × {grid.shape[1]} pixels, {len(theirs)} polygons: "
              "GDAL's, the same on another lattice, all valid", flush=True)  # fmt: skip


def _whole(batches) -> Features:
    batches = list(batches)
    names = [n for n in Features.__dataclass_fields__ if n != "zone"]
    return Features(*(concatenated([getattr(b, n) for b in batches]) for n in names))


def _corners(polygons: np.ndarray, grid: Grid) -> list[bytes]:
    """Polygons in whole pixels without the vertices on straight borders."""

    def pixels(xy: np.ndarray) -> np.ndarray:
        return np.rint(np.stack(~grid.transform @ xy.T, -1))

    whole = shapely.normalize(shapely.transform(polygons, pixels))
    return shapely.to_wkb(shapely.normalize(shapely.simplify(whole, 0))).tolist()


def memory(args: argparse.Namespace) -> None:
    left = []
    for side in (256, 8192, 16384):
        # ^ The first compiles the loops, which takes memory of its own.
        mask, out = args.out / f"mask{side}.tif", args.out / f"features.{args.format}"
        _write_mask(mask, side)
        peak, _ = _peak("one", mask, out)
        cut, count = _peak("one", mask, out, "--split")
        index = _peak("boxes", count, out)[0] - _peak("boxes", 1000, out)[0]
        left.append(cut - index)
        print(f"{side}²: peak {peak:.0f} MB; large features, cut by --split, take {peak - cut:.0f} "
              f"MB, the writer's index of {count} features {index:.0f} MB: left {left[-1]:.0f} MB",
              flush=True)  # fmt: skip
        out.unlink()
        mask.unlink()
    print(f"ratio {left[2] / left[1]:.2f}")


def _peak(*command: object) -> tuple[float, int]:
    """Peak memory in MB of a process, and the features that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.polygons", *map(str, command)],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, count = done.stdout.split()[-2:]
    return float(peak), int(count)


def _print_peak(count: int) -> None:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, count)


def boxes(args: argparse.Namespace) -> None:
    """Write so many unit squares: what is more than for a few is the writer's index."""
    grid = grid_of(np.empty((16384, 16384), np.uint8))
    layer = VectorLayer(grid, (MapClass(0, "box", default_colour(0)),))
    batches = (_squares(start, min(args.count - start, 20_000)) for start in
               range(0, args.count, 20_000))  # fmt: skip
    _print_peak(write_features(batches, layer, [args.out], overwrite=True))


def _squares(start: int, n: int) -> Features:
    left = 399_960 + (np.arange(start, start + n) % 4096) * 40.0
    top = 5_590_020 - (np.arange(start, start + n) // 4096) * 40.0
    x, y = np.array([0, 10, 10, 0, 0]), np.array([-10, -10, 0, 0, -10])
    xy = np.stack([left[:, None] + x, top[:, None] + y], -1).reshape(-1, 2)
    polygons = PolygonArray(xy, np.arange(n + 1) * 5, np.arange(n + 1))
    ones = np.ones(n)
    return Features(polygons, np.zeros(n, int), np.ones(n, int), ones, ones, ones, ones)


def noise(args: argparse.Namespace) -> None:
    """20 million regions of a pixel or two: refused with their number, then written."""
    mask = args.out / "noise.tif"
    side = 5120
    values = np.random.default_rng(0).integers(0, 12, (side, side), np.uint8)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": Affine(10, 0, 399_960, 0, -10, 5_590_020),
        "tiled": True, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(mask, "w", **profile) as file:
        file.write(values, 1)
    for most in (1_000_000, None):
        started = time.perf_counter()
        settings = VectorSettings(overwrite=True, max_features=most)
        try:
            print(vectorize(mask, args.out / "noise.fgb", settings), "features", end=" ")
        except SettingsError as error:
            print(error, end=" ")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"({time.perf_counter() - started:.0f} s, peak {peak:.0f} MB)", flush=True)


def one(args: argparse.Namespace) -> None:
    settings = VectorSettings(overwrite=True, split=args.split)
    _print_peak(vectorize(args.mask, args.out, settings))


def _write_mask(path: Path, side: int) -> None:
    n = min(side, 4096)
    tile = fractal_mask(n)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": Affine(10, 0, 399_960, 0, -10, 5_590_020),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, side, n):
            for col in range(0, side, n):
                file.write(tile, 1, window=((row, row + n), (col, col + n)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, function in (("speed", speed), ("write", write)):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("--side", type=int, default=4096 if name == "speed" else 10980)
        command.add_argument("--rounds", type=int, default=5)
        command.add_argument("--out", type=Path, default=Path("out/bench"))
    command = commands.add_parser("exact")
    command.set_defaults(run=exact)
    command.add_argument("masks", type=Path, nargs="+")
    command.add_argument("--nodata-too", action="store_true", help="trace no data as a class")
    command = commands.add_parser("memory")
    command.set_defaults(run=memory)
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--format", default="gpkg", choices=["gpkg", "fgb"])
    command = commands.add_parser("noise")
    command.set_defaults(run=noise)
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser("one")
    command.set_defaults(run=one)
    command.add_argument("mask", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--split", action="store_true")
    command = commands.add_parser("boxes")
    command.set_defaults(run=boxes)
    command.add_argument("count", type=int)
    command.add_argument("out", type=Path)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
