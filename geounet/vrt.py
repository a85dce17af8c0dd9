"""VRT files, opened only on request, may name only plain local files in turn."""

from __future__ import annotations

from pathlib import Path

from geounet.errors import InputError
from geounet.locations import is_remote, locate, shown
from geounet.xml_file import read_xml


def check_sources(path: Path) -> None:
    """Every source of a VRT is a local GeoTIFF or JPEG 2000 beside it or below.

    Raises:
        InputError: for raw, Python, pansharpening or warped bands, and for other sources.
    """
    root = read_xml(path)
    kind = root.get("subClass")
    if kind is not None:
        raise InputError(
            f"{path}: is a {kind}, which is not read; make a GeoTIFF of it with "
            f"`gdal_translate {path.name} out.tif`"
        )
    for band in root.iter("VRTRasterBand"):
        if band.get("subClass") is not None:
            raise InputError(
                f"{path}: has a {band.get('subClass')}, which can read any file; make a GeoTIFF "
                f"of it with `gdal_translate {path.name} out.tif`"
            )
    for source in root.iter("SourceFilename"):
        base = path.parent if source.get("relativeToVRT") == "1" else None
        _check_source(path, locate((source.text or "").strip(), base))


def _check_source(path: Path, source: str) -> None:
    if is_remote(source):
        raise InputError(
            f"{path}: names the source {shown(source)}, an address; give that address itself as "
            f"the scene, or download it"
        )
    try:
        with Path(source).open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise InputError(
            f"{path}: names the source {source}, which cannot be read: {error.strerror}; "
            f"restore it, or make the VRT again"
        ) from error
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[4:8] != b"jP  ":
        raise InputError(
            f"{path}: names the source {source}, which is neither GeoTIFF nor JPEG 2000; "
            f"build the VRT from such files"
        )
