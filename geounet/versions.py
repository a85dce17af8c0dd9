"""The versions that the bytes of a result depend on."""

from __future__ import annotations

from importlib.metadata import version

import jaxlib
import pyproj
import rasterio


def versions() -> dict[str, str]:
    """Name → version of geounet, jaxlib, GDAL and PROJ."""
    return {
        "geounet": version("geounet"),
        "jaxlib": jaxlib.__version__,
        "gdal": rasterio.__gdal_version__,
        "proj": pyproj.proj_version_str,
    }
