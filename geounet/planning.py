"""How a job will be cut and what it will take, before the first pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np
import shapely

from geounet.card import ModelCard
from geounet.cluster import THREADS, machine_of
from geounet.cog import BLOCK
from geounet.errors import SettingsError
from geounet.grid import Grid, Plan, Tile, round_up, shape_of
from geounet.locations import is_remote
from geounet.machine import Machine
from geounet.predict import SYMMETRIES
from geounet.raster import Raster
from geounet.remote_file import KEPT
from geounet.scene import Scene
from geounet.settings import ComputeSettings

CPU_WINDOW, GPU_WINDOW, SMALLEST_WINDOW = 1024, 2048, 256
SMALLEST_CACHE, LARGEST_CACHE = 64_000_000, 512_000_000
"""GDAL's block cache in bytes: the source blocks of the windows in flight, within these bounds."""
PROCESS_BYTES = 450_000_000
"""Python, JAX, GDAL and Dask before the first tile (measured, benchmarks/memory.py)."""
FEATURE_MAPS = 8.5
"""Float32 maps of the network's ``width`` that one forward pass keeps (measured, likewise)."""


@dataclass(frozen=True)
class JobPlan:
    """What ``--dry-run`` shows: the tiles of the plan to compute, memory and disk in bytes."""

    plan: Plan
    tiles: tuple[Tile, ...]
    memory: int
    disk: int
    computed_share: float
    cache: int
    machine: Machine
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, str]:
        """Name → text, in the order to be read."""
        rows, cols = self.plan.shape
        height, width = self.plan.window_shape
        return {
            "scene": f"{rows} × {cols} pixels",
            "tiles": f"{len(self.tiles)} of {len(self.plan.tiles)}",
            "window": f"{height} × {width} pixels, halo {self.plan.halo}",
            "computed": f"{self.computed_share:.2f} × the scene's pixels",
            "memory": f"about {self.memory / 1e9:.1f} GB in each worker process",
            "disk": f"at most {self.disk / 1e9:.2f} GB while it runs",
        }


def make_plan(
    scene: Scene,
    card: ModelCard,
    settings: ComputeSettings,
    area: shapely.Geometry | None,
    layers: int = 1,
    machine: Machine | None = None,
) -> JobPlan:
    """The plan of a job that writes ``layers`` bands of rasters.

    Its window is the one asked for, or the one that suits the device and the memory of the
    machine, which is asked for where it is not given.
    """
    machine = machine or machine_of(settings)
    plan = cut(scene.grid.shape, card, settings, machine=machine)
    tiles = tuple(t for t in plan.tiles if area is None or _touches(scene.grid[t.core], area))
    rows, cols = plan.shape
    height, width = plan.window_shape
    views = SYMMETRIES if settings.tta else 1
    decoded = _decoded(scene, plan)
    return JobPlan(
        plan,
        tiles,
        memory=_process_bytes(card, height * width, settings.tta) + _kept_of_remote(scene),
        # Tile store, uncompressed copy and COG with its overviews, each at most.
        disk=int(_stored(plan, tiles) * layers * 3.4),
        computed_share=views * len(tiles) * height * width / (rows * cols),
        cache=cache_of(scene, plan),
        machine=machine,
        notes=_layout_notes(scene, decoded),
    )


def _stored(plan: Plan, tiles: tuple[Tile, ...]) -> int:
    """Pixels of the blocks that hold a tile's core, at most: no other block takes room."""
    more = 2 * (BLOCK - 1)
    held = sum(prod(n + more for n in shape_of(tile.core)) for tile in tiles)
    return min(prod(plan.shape), held)


def cut(
    shape: tuple[int, int],
    card: ModelCard,
    settings: ComputeSettings,
    margin: int = 0,
    machine: Machine | None = None,
) -> Plan:
    """A scene cut for a model, into windows as asked for or as suits the device and the memory.

    Args:
        shape: rows and columns of the scene.
        card: its reach and its network set the halo and the stride.
        settings: the window, if one is asked for.
        margin: pixels around each core where labels must be exact too.
        machine: that computes; asked for where it matters and is not given.

    Raises:
        SettingsError: if the window asked for leaves the stride grid, or no core.
    """
    stride = card.architecture.stride
    # A core with its margin lies inside one rounded up to the stride, and rule 1 holds for that.
    halo = round_up(card.reach, stride) + round_up(margin, stride)
    window = settings.window or _default_window(
        card, halo, settings, machine or machine_of(settings)
    )
    try:
        return Plan(shape, window, halo, stride)
    except ValueError as error:
        raise SettingsError(
            f"--window {window} does not fit this model: {error}; "
            f"choose a multiple of {stride} above {2 * halo}"
        ) from error


def cache_of(scene: Scene, plan: Plan) -> int:
    """Bytes of GDAL's block cache for the windows that a process reads at once."""
    return min(max(THREADS * _decoded(scene, plan), SMALLEST_CACHE), LARGEST_CACHE)


def _decoded(scene: Scene, plan: Plan) -> int:
    return sum(blocks_touched(band.raster, plan) for band in scene.bands)


def blocks_touched(raster: Raster, plan: Plan) -> int:
    """Bytes of one band's blocks that GDAL decodes for a window in the worst place."""
    rows, cols = raster.grid.shape
    high, wide = raster.block
    shares = [r / n for r, n in zip(raster.grid.shape, plan.shape, strict=True)]
    needs = [ceil(w * share) for w, share in zip(plan.window_shape, shares, strict=True)]
    tall = min(round_up(needs[0], high) + high, round_up(rows, high))
    long = min(round_up(needs[1], wide) + wide, round_up(cols, wide))
    return tall * long * np.dtype(raster.dtypes[0]).itemsize


def _layout_notes(scene: Scene, decoded: int) -> tuple[str, ...]:
    """A warning where the files' layout makes every window decode far more than it keeps."""
    if decoded * THREADS <= LARGEST_CACHE:
        return ()
    file = Path(scene.files[0]).name
    return (
        f"{scene.name}: every window decodes {decoded / 1e6:.0f} MB because of the file's layout; "
        f"`gdal_translate -co TILED=YES -co COMPRESS=DEFLATE {file} tiled.tif` makes it faster",
    )


def _default_window(card: ModelCard, halo: int, settings: ComputeSettings, machine: Machine) -> int:
    window = CPU_WINDOW if machine.is_cpu else GPU_WINDOW
    limit = machine.memory * 0.6 / max(1, settings.workers) if machine.is_cpu else float("inf")
    smallest = max(SMALLEST_WINDOW, round_up(2 * halo + 1, card.architecture.stride))
    # Of a window four halos wide a quarter is kept.
    window = max(window, 4 * halo)
    while window > smallest and _process_bytes(card, window * window, settings.tta) > limit:
        window //= 2
    return max(window, smallest)


def _process_bytes(card: ModelCard, pixels: int, tta: bool) -> int:
    per_pixel = FEATURE_MAPS * 4 * card.architecture.width + 8 * card.architecture.bands
    # The sum over the views, one view's, and what comes of the two.
    per_pixel += 3 * 4 * len(card.classes) * tta
    return int(PROCESS_BYTES + pixels * per_pixel)


def _kept_of_remote(scene: Scene) -> int:
    return KEPT if any(is_remote(file) for file in scene.files) else 0


def _touches(grid: Grid, area: shapely.Geometry) -> bool:
    return bool(area.intersects(shapely.Polygon(grid.corners)))
