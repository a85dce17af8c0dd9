"""Features as vector tiles in one PMTiles file, which a map in a browser reads piece by piece."""

from __future__ import annotations

import json
import struct
from math import ceil, floor, log2
from pathlib import Path

import pyogrio

from geounet.grid import Grid
from geounet.vector_formats import LAYER, base_of, feature_lines
from geounet.vector_stage import Staged, VectorLayer, write_stream

_EQUATOR = 40_075_016.7
_UNITS = 4096
_DEEPEST = 18
_STREAM = 4096
_HEADER = struct.Struct("<7sB11Q6B4iB2i")
_HEADER_SIZE = 127
_WHOLE_EARTH = (-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000)


def write_tiles(staged: Staged, layer: VectorLayer, new: Path, path: Path, geojson: Path) -> None:
    """Tiles of Web Mercator, from the GeoJSON: there the features are split at ±180° already.

    Errors name ``path``, which ``new`` will become.
    """
    least, most = zooms(layer.grid)
    if not staged.count:
        _write_none(staged, new, least, most)
        return
    lines = new.with_name(f"{base_of(path)}.geojsonl")
    feature_lines(geojson, lines)
    with pyogrio.open_arrow(lines, batch_size=_STREAM) as (meta, stream):
        write_stream(
            stream,
            new,
            "PMTiles",
            meta["crs"],
            shown=path,
            geometry_name=meta["geometry_name"] or "wkb_geometry",
            geometry_type="Unknown",
            dataset_options={"MINZOOM": str(least), "MAXZOOM": str(most), "NAME": LAYER},
        )
    lines.unlink()


def zooms(grid: Grid) -> tuple[int, int]:
    """From where the scene is a quarter of a tile wide to where a tile's unit is half a pixel."""
    geographic = grid.crs.is_geographic
    metres = _EQUATOR / 360 if geographic else float(grid.crs.linear_units_factor[1])
    pixel = min(grid.pixel_size) * metres
    extent = max(n * size for n, size in zip(grid.shape, grid.pixel_size, strict=True)) * metres
    most = min(max(ceil(log2(2 * _EQUATOR / (_UNITS * pixel))), 0), _DEEPEST)
    return min(max(floor(log2(_EQUATOR / extent)) - 2, 0), most), most


def _write_none(staged: Staged, new: Path, least: int, most: int) -> None:
    """A file without tiles (PMTiles 3, github.com/protomaps/PMTiles): GDAL fails to write one."""
    kinds = {"U": "String"}
    layer = {
        "id": LAYER,
        "description": "",
        "minzoom": least,
        "maxzoom": most,
        "fields": {name: kinds.get(kind, "Number") for name, kind in staged.fields},
    }
    about = {"name": LAYER, "format": "pbf", "type": "overlay", "vector_layers": [layer]}
    folder, metadata = b"\0", json.dumps(about).encode()
    after = _HEADER_SIZE + len(folder)
    end = after + len(metadata)
    places = (_HEADER_SIZE, len(folder), after, len(metadata), end, 0, end, 0)
    # Addressed tiles, entries and contents: none. Then: clustered, compression of directories
    # (none) and tiles (gzip), type of tiles (MVT), zooms.
    header = _HEADER.pack(
        *(b"PMTiles", 3, *places, 0, 0, 0, 1, 1, 2, 1, least, most),
        *(*_WHOLE_EARTH, least, 0, 0),
    )
    new.write_bytes(header + folder + metadata)
