"""Small rasters and product folders, made at run time: non-square, odd origins, a real nodata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

UTM33 = "EPSG:32633"
CORNER = (330010.0, 5822050.0)


def numbers(shape, seed=0, low=1, high=3000, dtype="uint16"):
    """``(band, row, col)`` noise, so that every pixel shows where it was read from."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def north_up(size, corner=CORNER):
    return Affine(size, 0, corner[0], 0, -size, corner[1])


def write(path, bands, *, transform=None, crs=UTM33, driver="GTiff", **profile):
    """Writes ``(band, row, col)``; ``descriptions=`` names the bands."""
    descriptions = profile.pop("descriptions", None)
    mask = profile.pop("mask", None)
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    count, height, width = bands.shape
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver=driver,
        count=count,
        height=height,
        width=width,
        dtype=bands.dtype,
        crs=crs,
        transform=north_up(10) if transform is None else transform,
        **lossless,
        **profile,
    ) as out:
        out.write(bands)
        if descriptions:
            out.descriptions = descriptions
        if mask is not None:
            out.write_mask(mask)
    return str(path)


S2_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.example/S2">
  <General_Info><Product_Info>
    <PRODUCT_START_TIME>2023-06-03T10:15:59.024Z</PRODUCT_START_TIME>
    <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>
  <Product_Image_Characteristics>
    <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
    {offsets}
  </Product_Image_Characteristics></General_Info>
</n1:Level-2A_User_Product>
"""
S2_NAME = "S2A_MSIL2A_20230603T101559_N0509_R065_T33UUU_20230603T150203.SAFE"
S2_FILE = "T33UUU_20230603T101559"


def s2_offsets(value=-1000):
    rows = (f'<BOA_ADD_OFFSET band_id="{i}">{value}</BOA_ADD_OFFSET>' for i in range(13))
    return f"<BOA_ADD_OFFSET_VALUES_LIST>{''.join(rows)}</BOA_ADD_OFFSET_VALUES_LIST>"


def make_safe(folder, baseline="05.09", offsets=None):
    """A Level-2A product of 66 × 90 pixels at 10 m, with bands at 10, 20 and 60 m and SCL."""
    safe = Path(folder) / S2_NAME
    images = safe / "GRANULE" / "L2A_T33UUU_A041500_20230603T101600" / "IMG_DATA"
    shapes = {10: (66, 90), 20: (33, 45), 60: (11, 15)}
    names = {10: ("B02", "B03", "B04", "B08"), 20: ("B02", "B8A", "B11", "SCL"), 60: ("B01", "B02")}
    for size, bands in names.items():
        for k, band in enumerate(bands):
            high = 12 if band == "SCL" else 3000
            data = numbers((1, *shapes[size]), seed=size + k, high=high)
            data = data.astype("uint8") if band == "SCL" else data
            data[:, :1, :2] = 0
            write(
                images / f"R{size}m" / f"{S2_FILE}_{band}_{size}m.jp2",
                data,
                transform=north_up(size),
                driver="JP2OpenJPEG",
            )
    text = S2_XML.format(baseline=baseline, offsets=s2_offsets() if offsets is None else offsets)
    (safe / "MTD_MSIL2A.xml").write_text(text)
    return safe


LANDSAT = "LC08_L2SP_193023_20200601_20200825_02_T1"
LANDSAT_L1 = "LC08_L1TP_193023_20200601_20200825_02_T1"
MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    SUN_ELEVATION = 30.00000000
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    REFLECTANCE_MULT_BAND_5 = 2.0000E-05
    REFLECTANCE_ADD_BAND_5 = -0.100000
    REFLECTANCE_MULT_BAND_8 = 2.0000E-05
    REFLECTANCE_ADD_BAND_8 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def make_landsat(folder):
    """A Collection 2 Level 2 folder of 40 × 31 pixels: B4, B5, thermal, and QA with some clouds."""
    base = Path(folder) / LANDSAT
    grid = {"transform": north_up(30), "nodata": 0}
    for k, band in enumerate(("SR_B4", "SR_B5", "ST_B10")):
        write(base / f"{LANDSAT}_{band}.TIF", numbers((1, 40, 31), seed=k), **grid)
    write(base / f"{LANDSAT}_SR_QA_AEROSOL.TIF", numbers((1, 40, 31), dtype="uint8"), **grid)
    quality = np.full((1, 40, 31), 1 << 6, "uint16")
    quality[0, 5:9, 4:8] = 1 << 3
    quality[0, 20, 20] = 1 << 4
    write(base / f"{LANDSAT}_QA_PIXEL.TIF", quality, transform=north_up(30))
    return base


def make_landsat_level1(folder, mtl=MTL):
    base = Path(folder) / LANDSAT_L1
    for k, band in enumerate(("B4", "B5", "B8", "B10")):
        size, shape = (15, (80, 62)) if band == "B8" else (30, (40, 31))
        data = numbers((1, *shape), seed=k)
        write(base / f"{LANDSAT_L1}_{band}.TIF", data, transform=north_up(size))
    if mtl:
        (base / f"{LANDSAT_L1}_MTL.txt").write_text(mtl)
    return base


def make_hls(folder, sensor="L30"):
    name = f"HLS.{sensor}.T33UUU.2020153T101559.v2.0"
    base = Path(folder) / name
    for k, band in enumerate(("B04", "B05", "B06")):
        data = numbers((1, 24, 35), seed=k, low=-50, dtype="int16")
        data[:, :2, :3] = -9999
        write(base / f"{name}.{band}.tif", data, transform=north_up(30), nodata=-9999)
    quality = np.zeros((1, 24, 35), "uint8")
    quality[0, 10, 10] = 0b10
    write(base / f"{name}.Fmask.tif", quality, transform=north_up(30), nodata=255)
    return base
