"""Every real scene of a data folder, and what `geounet segment` makes of it, as a Markdown table.

    python -m benchmarks.real_input --data DATA --out out/real > docs/real-input.md

A scene that has the six bands of the model `water` is mapped with it. The others, which no shipped
model fits, are mapped with a network of drawn weights over their own bands: that shows the chain,
not a land cover. Files that cannot be mapped must end with exit code 3 or 6 and one clear line.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import yaml

from geounet.model_file import save_model
from tests.nets import architecture, card_of, random_net


@dataclass(frozen=True)
class Case:
    """A scene, by its path in the data folder, and the flags to map it with.

    ``bands`` are the drawn model's, each with what ``--band`` says of it; empty for ``water``.
    """

    scene: str
    flags: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()


ONE = ("value=1",)
RGB = ("red=1", "green=2", "blue=3")
CASES = (
    Case("sentinel2_brandenburg_osm/IMG_DATA"),
    Case("sentinel2_brandenburg_osm/IMG_DATA", ("--offset", "0")),
    Case("sentinel2_brandenburg_osm/derived_S2_stack10_10m.tif", ("--sensor", "S2", "--offset=0")),
    Case("landsat7_guatemala_2dates/LE70220491999322EDC01_stack.gtif"),
    Case("landsat7_guatemala_2dates/LE70220492002106EDC00_stack.gtif", ("--nodata=-9999",)),
    Case(
        "landsat7_guatemala_2dates/LE70220492002106EDC00_stack.gtif",
        ("--mask", "LE70220492002106EDC00_stack.gtif:band=8:values=2,4,255", "--mask-dilate", "3"),
    ),
    Case("landsat7_north_carolina/landsat_multiband.tif"),
    Case("landsat7_north_carolina/landsat_multiband.tif", (), ("green=2", "red=3", "nir=4")),
    Case("sentinel2_danube_8band/inference-img.tif"),
    Case("sentinel2_danube_8band/inference-img.tif", (), (*RGB, "nir=4")),
    Case("landsat_pucallpa_8dates/2020.tif", (), ("swir1=1", "nir=2", "red=3")),
    Case("sentinel2_romania_forest_timeseries/S2_20200511_B2B3B4B8.tif", ("--sensor", "S2")),
    Case(
        "sentinel2_romania_forest_timeseries/S2_20200511_B2B3B4B8.tif",
        ("--sensor", "S2", "--offset", "0"),
        ("blue", "green", "red", "nir"),
    ),
    Case("forest_amazon/unlabelled/0.tiff", (), RGB),
    Case("flood_s1/S1/India_900498_S1Hand.tif", (), ("vv=1", "vh=2")),
    Case(
        "stac_overflow_s1_unlabelled",
        (),
        ("vv", "vh"),
        (("vv", "test_features_ayt12_vv.tif"), ("vh", "test_features_ayt12_vh.tif")),
    ),
    Case("water_hls/images/0.tif"),
    Case("prodes_cerrado_masks_36Mpx/PRODES_up2018.tif", ("--format", "none"), ONE),
)
LARGE = 20_000_000
"""Pixels above which only the mask is written: drawn weights give a polygon per few pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/real"))
    args = parser.parse_args()
    odd = sorted(p for p in (args.data / "odd_geotiffs").glob("*.tif*") if p.suffix != ".msk")
    cases = [*CASES, *(Case(f"odd_geotiffs/{p.name}", *odd_flags(p)) for p in odd)]
    print("# Real scenes, and what becomes of them\n")
    print("Made by `python -m benchmarks.real_input --data DATA`; DATA holds public samples.\n")
    print("| scene | flags | model | exit | result | s |\n|---|---|---|---|---|---|", flush=True)
    for number, case in enumerate(cases):
        print(row(case, args.data, args.out / f"{number:02d}"), flush=True)


def odd_flags(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        with rasterio.open(path) as file:
            large = file.width * file.height > LARGE
            return (("--format", "none") if large else ()), (RGB if file.count == 3 else ONE)
    except rasterio.errors.RasterioIOError:
        return (), ONE


def row(case: Case, data: Path, out: Path) -> str:
    out.mkdir(parents=True, exist_ok=True)
    scene = data / case.scene if not case.parts else scene_file(case, data, out)
    names = tuple(band.split("=")[0] for band in case.bands)
    model = drawn(names, scene, out) if names else "water"
    given = [flag for band in case.bands if "=" in band for flag in ("--band", band)]
    command = [
        sys.executable, "-m", "geounet.cli", "segment", str(scene), str(out / "out"),
        "--model", str(model), "--overwrite", "--progress", "none", *given, *case.flags,
    ]  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    seconds = time.monotonic() - started
    result = mapped(out / "out") if done.returncode == 0 else done.stderr.strip().split("\n")[-1]
    result = result.replace(str(data.resolve()) + "/", "").replace(str(data) + "/", "")
    result = result.removeprefix("geounet: ").replace("|", "/")
    flags = " ".join([*given, *case.flags])
    kind = f"drawn, {len(names)} bands" if names else "water"
    return f"| {case.scene} | {flags} | {kind} | {done.returncode} | {result} | {seconds:.0f} |"


def scene_file(case: Case, data: Path, out: Path) -> Path:
    bands = {name: str((data / case.scene / file).resolve()) for name, file in case.parts}
    path = out / "scene.yaml"
    path.write_text(yaml.safe_dump({"bands": bands}))
    return path


def drawn(names: tuple[str, ...], scene: Path, out: Path) -> Path:
    """A small network whose normalisation suits the numbers of the scene."""
    arch = architecture(depth=3, base_filters=4, bands=len(names), outputs=3)
    mean, std = spread(scene)
    card = card_of(
        arch, bands=names, scale=1.0, mean=(mean,) * len(names), std=(std,) * len(names),
        pixel_size=(0.1, 100_000), level="any",
    )  # fmt: skip
    save_model(out / "drawn.safetensors", random_net(arch, seed=4), card, "float32")
    return out / "drawn.safetensors"


def spread(scene: Path) -> tuple[float, float]:
    try:
        with rasterio.open(scene) as file:
            small = file.read(1, out_shape=(64, 64)).astype(float)
    except rasterio.errors.RasterioError:
        return 0.0, 1.0
    known = small[np.isfinite(small) & (np.abs(small) < 1e5)]
    return (float(known.mean()), float(known.std()) or 1.0) if known.size else (0.0, 1.0)


def mapped(out: Path) -> str:
    with rasterio.open(out / "mask.tif") as file:
        shape, crs = file.shape, file.crs
    import json

    report = json.loads((out / "report.json").read_text())
    shares = ", ".join(f"{c['name']} {100 * c['share']:.0f} %" for c in report["classes"])
    hidden = f", {report['hidden_ha']:.0f} ha hidden" if report["hidden_ha"] else ""
    nodata = f"{100 * report['nodata_pixels'] / (shape[0] * shape[1]):.0f} % no data"
    where = f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else "its own CRS"
    features = f", {report['features']} polygons" if report["features"] else ""
    return f"mapped {shape[0]} × {shape[1]}, {where}: {shares}; {nodata}{hidden}{features}"


if __name__ == "__main__":
    main()
