"""Vector files that others made: only kinds that say all they hold are given to GDAL.

GDAL chooses a driver by what a file holds, whatever its name: under any name it would open a VRT,
a WFS document or a pipeline of commands, which fetch addresses and read other files. Some of these
it finds behind other text, too, and a GeoJSON may name its CRS by an address. So a file must begin
as its ending says, and its text must hold nothing of this.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from geounet.errors import InputError
from geounet.small_file import refuse_special

KINDS = {
    ".gpkg": b"SQLite format 3\0",
    ".shp": b"\0\0\x27\x0a",
    ".fgb": b"fgb\x03fgb",
    ".geojson": b"{",
    ".json": b"{",
    ".geojsonl": b"{",
    ".zip": b"PK\x03\x04",
}
"""How the files of each ending begin; a zip holds shapefiles."""
_TEXT = (".geojson", ".json", ".geojsonl")
_BOM = b"\xef\xbb\xbf"
_PIECE, _OVERLAP, _VALUE = 1 << 20, 8192, 4096
_ELSEWHERE = re.compile(rb"<OGR|WFS_Capabilities|gdal_streamed_alg", re.IGNORECASE)
"""What makes GDAL's VRT, WFS and GDALG drivers take a file."""
_CRS = re.compile(
    rb"""["'](?:c|\\u00[46]3)(?:r|\\u00[57]2)(?:s|\\u00[57]3)["']\s{0,64}([:/\s])""",
    re.IGNORECASE,
)
"""The name of a CRS in JSON, in whichever letters, and what follows it."""
_LINKS = ("URL", "LINK")


def vector_path(file: str | Path) -> Path:
    """The absolute path of a vector file that GDAL may open; in full, it means nothing else to it.

    Raises:
        InputError: if it is not there, of no kind that is read, or leads elsewhere.
    """
    if "://" in str(file):
        raise InputError(f"{file}: vector files are read from this machine; download it first")
    path = Path(file).absolute()
    kind = path.suffix.lower()
    if str(path).startswith("/vsi") or kind not in KINDS:
        raise InputError(
            f"{file}: its name ends in none of {', '.join(KINDS)}, the vector files that are read; "
            "make a GeoPackage of it with ogr2ogr out.gpkg in"
        )
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            _check(file, stream, kind)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}; check the path") from error
    return path


def _check(file: str | Path, stream: BinaryIO, kind: str) -> None:
    head = stream.read(_PIECE)
    if not head.removeprefix(_BOM).lstrip().startswith(KINDS[kind].lstrip()):
        raise InputError(
            f"{file}: is no {kind} file, whatever its name says; export it again from your GIS as "
            "GeoPackage"
        )
    # GDAL, too, looks for its words up to the first zero byte.
    if _ELSEWHERE.search(head.partition(b"\0")[0]):
        raise _leading(file)
    stream.seek(0)
    if kind in _TEXT:
        _check_text(file, stream)
    elif kind == ".zip":
        _check_zip(file, stream)


def _check_text(file: str | Path, stream: BinaryIO) -> None:
    for text, stop in _pieces(stream):
        if _ELSEWHERE.search(text):
            raise _leading(file)
        for found in _CRS.finditer(text, 0, stop + _OVERLAP // 2):
            if found.start() >= stop:
                break
            if found[1] != b":" or _is_link(text[found.end() : found.end() + _VALUE]):
                raise InputError(
                    f"{file}: its CRS is an address, which is not asked; write the CRS itself with "
                    "ogr2ogr -a_srs EPSG:… out.gpkg in"
                )


def _pieces(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """A file's text in pieces that overlap, and where in each the next one begins."""
    text = stream.read(_PIECE)
    while more := stream.read(_PIECE):
        stop = max(0, len(text) - _OVERLAP)
        yield text + more[:_OVERLAP], stop
        text = text[stop:] + more
    yield text, len(text)


def _is_link(value: bytes) -> bool:
    """True if the JSON that begins here is a CRS to be fetched, or cannot be understood."""
    start = value.lstrip()[:1]
    if start in b'"-0123456789ntf[' and start:
        return False
    try:
        decoder = json.JSONDecoder(object_pairs_hook=list)
        pairs, _ = decoder.raw_decode(value.decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError):
        return True
    kinds = [kind for name, kind in pairs if name.lower() == "type"]
    return any(not isinstance(kind, str) or kind.upper().startswith(_LINKS) for kind in kinds)


def _check_zip(file: str | Path, stream: BinaryIO) -> None:
    try:
        with ZipFile(stream) as packed:
            names = [n for n in packed.namelist() if n.lower().endswith(".shp") and "._" not in n]
            whole = all(packed.open(name).read(4) == KINDS[".shp"] for name in names)
    # What is encrypted, or packed in a way that Python lacks, is a RuntimeError.
    except (BadZipFile, RuntimeError, EOFError, zlib.error) as error:
        raise InputError(f"{file}: cannot be unpacked ({error}); download it again") from error
    if not (names and whole):
        raise InputError(f"{file}: holds no shapefile; unpack it, and give the file itself")


def _leading(file: str | Path) -> InputError:
    return InputError(
        f"{file}: holds a VRT, a WFS document or a pipeline, which may lead anywhere; give the "
        "file that it names"
    )
