"""What the metadata files of Sentinel-2 and Landsat products say of their numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import radians, sin
from pathlib import Path
from xml.etree.ElementTree import Element

from geounet.errors import InputError
from geounet.sensors import S2_BAND_IDS, SURFACE, TOA
from geounet.xml_file import read_xml

MTL_LIMIT = 2**20


@dataclass(frozen=True)
class SentinelMetadata:
    """MTD_MSIL1C.xml or MTD_MSIL2A.xml: ``physical = number * scale + offsets[band id]``."""

    level: str
    date: str | None
    baseline: str
    scale: float
    offsets: dict[str, float]


def read_sentinel(path: Path) -> SentinelMetadata:
    """The scaling of a Sentinel-2 product, from its own XML.

    Raises:
        InputError: if the XML lacks the quantification value, or an offset that its processing
            baseline requires.
    """
    root = read_xml(path)
    surface = "2A" in path.name
    prefix = "BOA" if surface else "RADIO"
    quantum = _number(path, root, "BOA_QUANTIFICATION_VALUE" if surface else "QUANTIFICATION_VALUE")
    baseline = _text(root, "PROCESSING_BASELINE")
    start = _text(root, "PRODUCT_START_TIME") or _text(root, "DATATAKE_SENSING_START")
    offsets = {
        S2_BAND_IDS[int(node.get("band_id", "-1"))]: float(node.text or "nan") / quantum
        for node in root.iter()
        if _local(node) == f"{prefix}_ADD_OFFSET"
        and re.fullmatch(r"\d|1[0-2]", node.get("band_id", ""))
    }
    if not offsets and _version(baseline) >= 4:
        raise InputError(
            f"{path}: is of processing baseline {baseline}, but holds no {prefix}_ADD_OFFSET; say "
            f"--offset -0.1 if the numbers still have ESA's offset of 1000, or --offset 0 if not"
        )
    return SentinelMetadata(
        level=SURFACE if surface else TOA,
        date=start[:10] or None,
        baseline=baseline,
        scale=1 / quantum,
        offsets=offsets or dict.fromkeys(S2_BAND_IDS, 0.0),
    )


def _version(baseline: str) -> float:
    """Without a baseline the newest is meant, so that a missing offset is never taken for 0."""
    found = re.match(r"\d+", baseline)
    return float(found[0]) if found else 4.0


def _local(node: Element) -> str:
    return node.tag.rpartition("}")[2]


def _text(root: Element, tag: str) -> str:
    return next(((n.text or "").strip() for n in root.iter() if _local(n) == tag), "")


def _number(path: Path, root: Element, tag: str) -> float:
    try:
        value = float(_text(root, tag))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(
            f"{path}: has no usable {tag}, so its numbers have no scale; give --scale and "
            f"--offset, or download the product again"
        )
    return value


def read_mtl(path: Path) -> dict[str, dict[str, str]]:
    """A Landsat ``…_MTL.txt``: group, key, value (ODL; LSDS-1822, section 5).

    Raises:
        InputError: if it is not such a file.
    """
    try:
        text = path.read_bytes()[: MTL_LIMIT + 1].decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in text.splitlines():
        key, _, value = (s.strip() for s in line.partition("="))
        if key == "GROUP":
            group = value
        elif value and key != "END_GROUP":
            groups.setdefault(group, {})[key] = value.strip('"')
    if len(text) > MTL_LIMIT or not groups:
        raise InputError(f"{path}: is not a Landsat MTL file; download the product again")
    return groups


def landsat_level1(path: Path, number: str) -> tuple[float, float]:
    """Scale and offset to reflectance at the top of the atmosphere, corrected for the sun.

    ``reflectance = (number * MULT + ADD) / sin(sun elevation)`` (LSDS-1574, section 5.2).

    Raises:
        InputError: if the MTL lacks a number.
    """
    merged = {k: v for g in read_mtl(path).values() for k, v in g.items()}
    keys = (f"REFLECTANCE_MULT_BAND_{number}", f"REFLECTANCE_ADD_BAND_{number}", "SUN_ELEVATION")
    try:
        scale, offset, elevation = (float(merged[k]) for k in keys)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: lacks a usable {' or '.join(keys)}; give --scale and --offset, or download "
            f"the product again"
        ) from error
    if not 0 < elevation <= 90:
        raise InputError(
            f"{path}: puts the sun at {elevation}° above the horizon, so that reflectance is not "
            f"defined; give --scale and --offset"
        )
    height = sin(radians(elevation))
    return scale / height, offset / height
