"""What a person, or a bug report, wants to know of an installation."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import psutil
import pyogrio
import rasterio

from geounet.errors import GeounetError
from geounet.model_file import load_model, shipped
from geounet.versions import versions

DANGEROUS = ("GDAL_NUM_THREADS", "GDAL_DRIVER_PATH", "GDAL_VRT_ENABLE_PYTHON", "PROJ_DATA")


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    what: str
    found: str
    good: bool = True


def examine() -> Iterator[Finding]:
    """Look at versions, devices, memory, drivers, models and the environment."""
    yield Finding("system", f"{platform.system()} {platform.machine()}")
    yield Finding("python", platform.python_version())
    for name, version in versions().items():
        yield Finding(name, version)
    yield Finding("device", ", ".join(f"{d.platform} {d.device_kind}" for d in jax.devices()))
    yield _arithmetic()
    memory = psutil.virtual_memory()
    yield Finding(
        "memory",
        f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB",
        memory.available > 1e9,
    )
    free = psutil.disk_usage(tempfile.gettempdir()).free
    yield Finding("temporary folder", f"{free / 1e9:.1f} GB free", free > 1e9)
    yield from _drivers()
    yield from _models()
    for name in DANGEROUS:
        if name in os.environ:
            yield Finding(name, f"{Path(os.environ[name]).name} (set; geounet decides this itself)")


def _arithmetic() -> Finding:
    matrix = np.arange(16, dtype=np.float32).reshape(4, 4)
    good = np.allclose(jax.numpy.dot(matrix, matrix), matrix @ matrix)
    return Finding("arithmetic", "a compiled product is right" if good else "wrong", bool(good))


def _drivers() -> Iterator[Finding]:
    with rasterio.Env() as env:
        rasters = env.drivers()
    vectors = pyogrio.list_drivers(write=True)
    for name in ("GTiff", "COG", "JP2OpenJPEG"):
        yield Finding(f"raster {name}", "there" if name in rasters else "missing", name in rasters)
    for name in ("GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"):
        yield Finding(f"vector {name}", "there" if name in vectors else "missing", name in vectors)


def _models() -> Iterator[Finding]:
    for name, path in shipped().items():
        try:
            card = load_model(path).card
            yield Finding(f"model {name}", f"sound, {card.sha256[:12]}")
        except GeounetError as error:
            yield Finding(f"model {name}", str(error), good=False)
