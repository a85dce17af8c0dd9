"""Disks that are full: a small one that is mounted, and a limit on the size of files.

They fail at other calls. On a small disk the second file fails too, and there is less room than
was asked for; with the limit each file may grow to it, which needs no root.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from geounet.card import LandClass
from geounet.cog import CogStyle, write_cog
from geounet.grid import Grid
from geounet.vector import VectorLayer, write_features
from tests.made_features import features_of, mask_of

PAGE = 4096
CLASSES = (
    LandClass(value=0, name="land", colour="#996633"),
    LandClass(value=1, name="water", colour="#3366cc"),
)
GRID = Grid((300, 330), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))


def write(path: Path, after: Callable[[], None] = lambda: None) -> None:
    """A map of noise as ``path``, of whichever format; ``after`` is called before its file is made.

    That is when a raster's pieces are given, or when features lie in the GeoPackage that each other
    format is copied from.
    """
    if path.suffix == ".tif":
        write_cog(path, GRID, _pieces(after), CogStyle(classes=CLASSES), overwrite=True)
    else:
        layer = VectorLayer(GRID, CLASSES)
        batches = [features_of(GRID, mask_of(GRID))]
        if path.suffix == ".gpkg":
            after()
        write_features(batches, layer, [path], overwrite=True, check=after)


def _pieces(after: Callable[[], None]) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    mask = np.random.default_rng(0).integers(0, 2, GRID.shape).astype(np.uint8)
    for top in range(0, GRID.shape[0], 100):
        window = (slice(top, min(top + 100, GRID.shape[0])), slice(0, GRID.shape[1]))
        yield window, mask[window]
    after()


def write_limited(path: str, limit: str) -> int:
    """For a child: from then on no file may be longer than ``limit``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        write(Path(path), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), hard)))
    finally:
        # What is told goes into a file, too.
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return 0


def write_whole(path: str) -> int:
    """For a child: with all the room there is."""
    write(Path(path))
    return 0


def files_of(path: Path) -> dict[str, bytes]:
    """What stands at names that people see, beside and at ``path``."""
    if not path.parent.exists():
        return {}
    found = [p for p in path.parent.iterdir() if p.is_file() and not p.name.startswith(".")]
    return {p.name: p.read_bytes() for p in found}


class SmallDisk:
    """A mounted disk in memory, whose size can change."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def resize(self, pages: int) -> None:
        """Empty, with room for so many pages."""
        self.close()
        self._mount(f"size={PAGE * pages}")

    def grow(self) -> None:
        """As it is, with more room than anything here needs."""
        self._mount("remount,size=512m")

    def close(self) -> None:
        if os.path.ismount(self.place):
            subprocess.run(["umount", "-l", str(self.place)], check=True)

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        subprocess.run(command, check=True, capture_output=True)

    def least(self, works: Callable[[], bool], enough: int) -> int:
        """Pages below which ``works`` is false on an empty disk; ``enough`` are enough."""
        low, high = 1, enough
        while high - low > max(1, high // 30):
            middle = (low + high) // 2
            self.resize(middle)
            low, high = (low, middle) if works() else (middle, high)
        return high


@contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk]:
    """A small disk at ``place``; the test is skipped where it cannot be mounted."""
    place.mkdir()
    disk = SmallDisk(place)
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a full disk needs root, to mount a small one; the limit on files was tried")
    try:
        disk.resize(16)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"root may not mount a small disk here: {error.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        disk.close()
