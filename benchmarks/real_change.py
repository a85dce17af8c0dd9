"""Real pairs that the shipped models refuse, with models made for them; pictures to look at.

    python -m benchmarks.real_change --data ../shared/data --out OUT

Pucallpa, Peru: eight composites of 8 bits and four bands that nobody named, without labels. A model
is made from labels that a rule draws where it is sure (dark in both infrared bands is water; deep
green is forest; what is bright in red is neither) on five of the dates, and both jobs run on the
rest. Romania: six summers of Sentinel-2 in four bands, without short-wave infrared; the model
learns tree cover of 2018, 50 % and more, and the losses of 2015 to 2020 are mapped.

There is no truth of change for either: areas are printed, and the pages and pictures are to be
looked at (docs/floods.md, docs/deforestation.md say what they show).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from geounet.pipelines.deforestation import deforestation
from geounet.pipelines.flood import flood
from numpy import ndarray

from geounet.card import NODATA
from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.errors import GeounetError
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training import train
from geounet.outputs import Results

OTHER, WATER, FOREST = range(3)
COLOURS = {"other": "#d8cfb4", "water": "#1f78b4", "forest": "#1b7837"}
PUCALLPA, ROMANIA = "landsat_pucallpa_8dates", "sentinel2_romania_forest_timeseries"
LEARNT = ("1990", "1995", "2000", "2005", "2010")
STACK = ("swir1", "nir", "red", "green")
COVER = "tree_cover_density_2018_romania.tif"


def rule_of(image: ndarray) -> ndarray:
    """Labels of a composite of Pucallpa, ``(band, row, col)``, where the rule is sure of them."""
    swir, nir, red, _ = image.astype(np.int16)
    water = (swir < 35) & (nir < 110)
    forest = (swir < 85) & (nir > 130) & (red < 22)
    other = (red > 30) | ((swir > 105) & (nir > 120))
    return np.select([water, forest, other], [WATER, FOREST, OTHER], NODATA).astype(np.uint8)


def labelled_pucallpa(data: Path, folder: Path) -> TrainSettings:
    for year in LEARNT:
        with rasterio.open(data / PUCALLPA / f"{year}.tif") as file:
            labels, profile = rule_of(file.read()), file.profile
        target = folder / "labels" / f"{year}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(target, "w", **{**profile, "count": 1, "nodata": None}) as file:
            file.write(labels, 1)
    images = [str((data / PUCALLPA / f"{year}.tif").resolve()) for year in LEARNT]
    return settings_of(
        "pucallpa",
        ("other", "water", "forest"),
        {
            "root": folder,
            "images": images,
            "labels": "labels/*.tif",
            "bands": {name: k + 1 for k, name in enumerate(STACK)},
            "ignore": [NODATA],
        },
        {"level": "composites stretched to 8 bits", "unit": "8 bits", "pixel_size": (60.0, 120.0)},
        {"gain": 0.15, "band_gain": 0.15, "brightness": 8.0},
    )


def labelled_romania(data: Path) -> TrainSettings:
    bands = {"blue": 1, "green": 2, "red": 3, "nir": 4}
    return settings_of(
        "romania",
        ("other", "forest"),
        {
            "root": data / ROMANIA,
            "images": "S2_*.tif",
            "labels": COVER,
            "bands": bands,
            "scale": 1e-4,
            "remap": {share: "forest" if share >= 50 else "other" for share in range(101)},
        },
        {"pixel_size": (10.0, 10.0)},
        {"gain": 0.1, "band_gain": 0.1},
    )


def settings_of(
    name: str,
    classes: Sequence[str],
    data: Mapping[str, Any],
    about: Mapping[str, Any],
    light: Mapping[str, Any],
) -> TrainSettings:
    legend = [{"value": k, "name": c, "colour": COLOURS[c]} for k, c in enumerate(classes)]
    return TrainSettings.model_validate(
        {
            "name": name,
            "classes": legend,
            "data": data,
            "network": {"depth": 2, "base_filters": 16},
            "augment": light,
            "optimiser": {"kind": "adamw", "learning_rate": 0.003, "ema": 0.98},
            "chip": 32,
            "batch": 32,
            "epochs": 12,
            **about,
        }
    )


def refused(job: str, scenes: Sequence[Path], out: Path) -> None:
    """Print with which words a shipped model refuses two scenes."""
    try:
        if job == "flood":
            flood(scenes[0], scenes[-1], out)
        else:
            deforestation([scenes[0], scenes[-1]], out)
    except GeounetError as error:
        print(f"{job}, shipped model: {error.exit_code}, {error}")
    else:
        raise SystemExit(f"{job} of {scenes[0].parent.name} was not refused")


def told(what: str, results: Results) -> None:
    areas = ", ".join(f"{row.name} {row.area_ha:,.0f} ha" for row in results.classes)
    print(f"{what}: {areas}; {results.features} polygons in {results.out}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/real_change"))
    args = parser.parse_args()
    dates = sorted((args.data / PUCALLPA).glob("*.tif"))
    summers = sorted((args.data / ROMANIA).glob("S2_*.tif"))
    for job in ("flood", "deforestation"):
        refused(job, dates, args.out / "refused")
        refused(job, summers, args.out / "refused")
    learnt = train(
        labelled_pucallpa(args.data, args.out / "pucallpa"), args.out / "pucallpa" / "run"
    )
    stack = {name: str(k + 1) for k, name in enumerate(STACK)}
    river = FloodSettings(bands=stack, min_area="5px")
    found = flood(dates[0], dates[-1], args.out / "pucallpa_water", learnt.model, river)
    told("Pucallpa, water 1985 and 2020", found)
    clearing = DeforestationSettings(bands=stack, min_area="5ha")
    three = [dates[0], dates[3], dates[-1]]
    found = deforestation(three, args.out / "pucallpa_forest", learnt.model, clearing)
    told("Pucallpa, forest 1985, 2000, 2020", found)
    learnt = train(labelled_romania(args.data), args.out / "romania" / "run")
    four = {name: str(k + 1) for k, name in enumerate(("blue", "green", "red", "nir"))}
    cut = DeforestationSettings(bands=four, scale=1e-4, min_area="0.1ha")
    found = deforestation(summers, args.out / "romania_forest", learnt.model, cut)
    told("Romania, forest of six summers", found)


if __name__ == "__main__":
    main()
