"""What a file holds, in a few kilobytes: enough to notice that it is not the one of last time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geounet.errors import InputError
from geounet.raster import Raster
from geounet.small_file import is_file

BLOCK = 64 * 1024
SAMPLES = 16


def fingerprint_of(raster: Raster) -> dict[str, object]:
    """Size, header and a SHA-256 over the first, the last and evenly spaced blocks of a file.

    Holds no path, so that a moved folder keeps its fingerprint. Of an address the size and the tag
    (ETag, or date of change) are taken, as the server gave them with the header.

    Raises:
        InputError: if the file cannot be read.
    """
    grid = raster.grid
    header = {
        "file": Path(raster.shown).name,
        "shape": list(grid.shape),
        "transform": [float(v) for v in tuple(grid.transform)[:6]],
        "crs": grid.crs.to_wkt(),
        "dtypes": list(raster.dtypes),
        "nodata": [None if n is None else repr(n) for n in raster.nodata],
    }
    if raster.version is not None:
        return header | {"size": raster.version.size, "tag": raster.version.tag}
    size, digest = _sample(Path(raster.file))
    header |= {"size": size, "sha256_of_samples": digest}
    mask = Path(f"{raster.file}.msk")
    return header | {"mask_beside": _sample(mask)[1]} if is_file(mask) else header


def sha256_of(file: Path) -> str:
    """Of all of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sample(path: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            last = max(0, size - BLOCK)
            for start in sorted({last * k // (SAMPLES + 1) for k in range(SAMPLES + 2)}):
                stream.seek(start)
                digest.update(stream.read(BLOCK))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the disk") from error
    return size, digest.hexdigest()
