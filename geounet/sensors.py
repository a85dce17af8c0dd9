"""What the sensors call their bands, how their numbers are scaled, and what their masks mean.

Pure data and functions: no file is opened here. Sources: ESA Sentinel-2 Products Specification
Document (baseline 04.00 adds the offset); USGS LSDS-1618 and LSDS-1619 (Landsat 8–9 and 4–7
Collection 2 Level 2); HLS v2.0 user guide; Zhu & Woodcock 2012 (Fmask values).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

SURFACE = "surface reflectance"
TOA = "top-of-atmosphere reflectance"

_S2 = {
    "B1": "coastal",
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "rededge1",
    "B6": "rededge2",
    "B7": "rededge3",
    "B8": "nir",
    "B8A": "nir08",
    "B9": "water_vapour",
    "B10": "cirrus",
    "B11": "swir1",
    "B12": "swir2",
}
_OLI = {
    "B1": "coastal",
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "nir",
    "B6": "swir1",
    "B7": "swir2",
    "B8": "pan",
    "B9": "cirrus",
    "B10": "thermal1",
    "B11": "thermal2",
}
_TM = {
    "B1": "blue",
    "B2": "green",
    "B3": "red",
    "B4": "nir",
    "B5": "swir1",
    "B6": "thermal1",
    "B7": "swir2",
    "B8": "pan",
}
BANDS: dict[str, dict[str, str]] = {
    "S2": _S2,
    "L8-9": _OLI,
    "L4-7": _TM,
    "HLS-L30": {key: name for key, name in _OLI.items() if name != "pan"},
    "HLS-S30": _S2,
}
"""Band id to common name, per sensor, in the order in which a scene lists its bands."""

ALSO = {("L8-9", "B5"): ("nir08",), ("HLS-L30", "B5"): ("nir08",)}
"""Further names: the near infrared of Landsat 8–9 is as narrow as Sentinel-2's B8A."""

_SYNONYMS = {
    "aerosol": "coastal",
    "coastalaerosol": "coastal",
    "nearinfrared": "nir",
    "nearir": "nir",
    "narrownir": "nir08",
    "nirnarrow": "nir08",
    "nir8a": "nir08",
    "swir16": "swir1",
    "swir22": "swir2",
    "shortwaveinfrared1": "swir1",
    "shortwaveinfrared2": "swir2",
    "re1": "rededge1",
    "re2": "rededge2",
    "re3": "rededge3",
    "rededge071": "rededge1",
    "rededge075": "rededge2",
    "rededge078": "rededge3",
    "watervapour": "water_vapour",
    "watervapor": "water_vapour",
    "nir09": "water_vapour",
    "panchromatic": "pan",
    "lwir": "thermal1",
    "lwir11": "thermal1",
    "lwir12": "thermal2",
    "thermal": "thermal1",
    "qapixel": "qa_pixel",
}
_COMPACT = _SYNONYMS | {
    name.replace("_", ""): name for names in BANDS.values() for name in names.values()
}
_BAND_ID = re.compile(
    r"^(?:sr|st|toa|boa)?[ _-]?b(?:and)?[ _-]?0*(\d{1,2}a?)(?:[ _-]?(?:reflectance|temperature))?$",
    re.IGNORECASE,
)


def canonical(name: str) -> str:
    """One spelling per name: ``canonical("B02") == "b2"``, ``canonical("SWIR 16") == "swir1"``."""
    found = _BAND_ID.match(name.strip())
    if found:
        return f"b{found[1].lower()}"
    lower = re.sub(r"\s+", "_", name.strip().lower())
    return _COMPACT.get(re.sub(r"[ _-]", "", lower), lower)


def band_id(text: str) -> str | None:
    """The sensor's own band id in a description: "B8A" of "sr_band8A", or None."""
    found = _BAND_ID.match(text.strip())
    return f"B{found[1].upper()}" if found else None


def common_name(sensor: str | None, text: str) -> str | None:
    """The common name of a band id of a known sensor, or None."""
    key = band_id(text)
    return BANDS[sensor].get(key) if sensor and key else None


def readings(text: str) -> dict[str, str]:
    """What a bare band id means on each sensor: {"S2": "blue", "L4-7": "green", …}."""
    key = band_id(text)
    return {s: names[key] for s, names in BANDS.items() if key in names} if key else {}


@dataclass(frozen=True)
class ProductName:
    """What a product's or file's name says. ``offset_free`` is true where no offset can be."""

    sensor: str
    level: str | None = None
    date: str | None = None
    collection: int | None = None
    offset_free: bool = False


_S2_PRODUCT = re.compile(r"S2[A-D]_MSIL(1C|2A)_(\d{8})T\d{6}_N(\d{4})_R\d{3}_T\d{2}[A-Z]{3}")
_S2_ITEM = re.compile(r"S2[A-D]_T?\d{2}[A-Z]{3}_(\d{8})_\d+_L(1C|2A)")
_S2_OLD = re.compile(r"S2[A-D]_OPER_(?:MSI|PRD)_(?:MSI)?L(1C|2A)_\w*?(\d{8})T")
_S2_TILE = re.compile(
    r"(?:^|L2A_)T\d{2}[A-Z]{3}_(\d{8})T\d{6}(?:_(?:B\d[\dA]|SCL|TCI|AOT|WVP)(_\d\dm)?)?$"
)
_LANDSAT = re.compile(r"L[COTE](0[4-9])_(L1\w\w|L2\w\w)_\d{6}_(\d{8})_\d{8}_(0[12])_(?:T1|T2|RT)")
_LANDSAT_OLD = re.compile(r"^L[COTE]([4-8])\d{6}(\d{4})(\d{3})[A-Z]{3}\d{2}")
_HLS = re.compile(r"HLS\.([LS]30)\.T\d{2}[A-Z]{3}\.(\d{4})(\d{3})T\d{6}\.v\d")
_LEVELS = {"1C": TOA, "2A": SURFACE}


MADE_TAG, DATE_TAG = "GEOUNET_MADE", "GEOUNET_DATE"
"""In files of drawn scenes: that they are, and the day that they play at."""


def read_name(stem: str) -> ProductName | None:
    """What a file or folder name says of its product, or None: names only, never a guess."""
    return _sentinel(stem) or _landsat(stem) or _hls(stem)


def _sentinel(stem: str) -> ProductName | None:
    if found := _S2_PRODUCT.search(stem):
        level, day, baseline = found.groups()
        # Before baseline 04.00 there was no offset that a copy could have kept or removed. From
        # 04.00 on the name proves nothing, because many copies have it removed already.
        return ProductName("S2", _LEVELS[level], _iso(day), offset_free=int(baseline) < 400)
    if found := _S2_ITEM.search(stem):
        return ProductName("S2", _LEVELS[found[2]], _iso(found[1]))
    if found := _S2_OLD.search(stem):
        return ProductName("S2", _LEVELS[found[1]], None)
    if found := _S2_TILE.search(stem):
        has_band = "_B" in stem
        level = (SURFACE if found[2] else TOA) if has_band else None
        return ProductName("S2", level, _iso(found[1]))
    return None


def _landsat(stem: str) -> ProductName | None:
    if found := _LANDSAT.search(stem):
        number, level, day, collection = found.groups()
        sensor = "L8-9" if int(number) >= 8 else "L4-7"
        kind = TOA if level.startswith("L1") else SURFACE
        return ProductName(sensor, kind, _iso(day), int(collection))
    if found := _LANDSAT_OLD.search(stem):
        sensor = "L8-9" if int(found[1]) >= 8 else "L4-7"
        return ProductName(sensor, None, _ordinal(found[2], found[3]), 0)
    return None


def _hls(stem: str) -> ProductName | None:
    found = _HLS.search(stem)
    if not found:
        return None
    return ProductName(f"HLS-{found[1]}", SURFACE, _ordinal(found[2], found[3]))


def _iso(day: str) -> str | None:
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        return None


def _ordinal(year: str, day: str) -> str | None:
    """Year and day of the year as a date; None where the year has no such day."""
    try:
        first = date(int(year), 1, 1)
    except ValueError:
        return None
    found = first + timedelta(int(day) - 1)
    return found.isoformat() if found.year == first.year else None


S2_SCALE = 1e-4
S2_NODATA = 0
S2_BAND_IDS = tuple(_S2)
"""In the order of ``band_id`` in the product's XML: B8A comes after B8."""


def landsat_level2(name: str) -> tuple[float, float]:
    """Scale and offset of Collection 2 Level 2 numbers: reflectance, or kelvin for thermal."""
    return (0.00341802, 149.0) if name.startswith("thermal") else (0.0000275, -0.2)


def hls_scaling(name: str) -> tuple[float, float]:
    """Scale and offset of HLS v2.0 numbers: reflectance, or °C for thermal."""
    return (0.01, 0.0) if name.startswith("thermal") else (0.0001, 0.0)


HLS_NODATA = -9999
LANDSAT_NODATA = 0

MASK_RULES = {
    # Sentinel-2 SCL: shadow, cloud of medium and high probability, thin cirrus.
    "scl": "values=3,8,9,10",
    # Landsat QA_PIXEL: dilated cloud, cirrus (unused before Landsat 8), cloud, shadow.
    "qa_pixel": "bits=1,2,3,4",
    # HLS Fmask: cloud, next to cloud or shadow, shadow.
    "hls": "bits=1,2,3",
    # Fmask as values: shadow, cloud.
    "fmask4": "values=2,4",
}
"""What each named mask hides."""


_COPERNICUS_CREDIT = "Contains modified Copernicus Sentinel data"
_LANDSAT_CREDIT = "Landsat data courtesy of the U.S. Geological Survey"
_HLS_CREDIT = "Harmonized Landsat and Sentinel-2 data from NASA's LP DAAC"


def credit(sensor: str | None, day: str | None) -> tuple[str, ...]:
    """What whoever shows a map of this sensor's data has to say, as their terms ask.

    Args:
        sensor: one of ``BANDS``; for others nothing is known.
        day: of the scene, as YYYY-MM-DD.
    """
    copernicus = f"{_COPERNICUS_CREDIT} {day[:4]}" if day else _COPERNICUS_CREDIT
    return {
        "S2": (copernicus,),
        "L4-7": (_LANDSAT_CREDIT,),
        "L8-9": (_LANDSAT_CREDIT,),
        "HLS-L30": (_LANDSAT_CREDIT, _HLS_CREDIT),
        "HLS-S30": (copernicus, _HLS_CREDIT),
    }.get(sensor or "", ())
