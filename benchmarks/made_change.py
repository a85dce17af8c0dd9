"""Change on drawn pairs, end to end: a model trained on some seeds, both jobs on twenty others.

    python -m benchmarks.made_change --out OUT [--pairs 20] [--side 512]

For floods and for clearings a small network is trained on drawn scenes of other seeds, with labels
of the land that was drawn. Each job then maps pairs that nothing was chosen on, with the mask of
their clouds, and `assess` estimates the area that changed from a sample which the truth interprets.
Wanted: an IoU of change of 0.85, an area within 5 % of the truth in the median, and the truth
inside the 95 % interval on 16 of 20 pairs. Made pairs show what a job does with a model that is
good there; they say nothing of a model on Earth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from affine import Affine
from geounet.pipelines.deforestation import GAIN, LOSS, OTHER, STABLE, deforestation
from geounet.pipelines.flood import BOTH, DRY, NEW, RECEDED, flood
from numpy import ndarray
from rasterio.crs import CRS

from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.estimate import estimate_accuracy
from geounet.assess.settings import DesignSettings
from geounet.card import NODATA
from geounet.change_settings import DeforestationSettings, FloodSettings
from geounet.grid import Grid
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training import train
from geounet.outputs import Results
from geounet.synthetic import BANDS, FOREST, WATER, Event, MadePair
from geounet.synthetic_files import MadeFiles, write_pair

LEARNT, UNSEEN = range(1000, 1006), range(2000, 2100)
POINTS = DesignSettings(size=600, at_least=100)
TARGETS: Mapping[Event, tuple[str, int]] = {
    "flood": ("water", WATER),
    "clearing": ("forest", FOREST),
}


@dataclass(frozen=True)
class Score:
    """One pair: IoU of change, the map's area over the true one, whether the interval held."""

    seed: int
    iou: float
    area_ratio: float
    held: bool
    low: float
    truth: float
    high: float


def pair_of(seed: int, event: Event, side: int) -> MadePair:
    grid = Grid((side, side), Affine(30, 0, 500_000, 0, -30, 5_000_000), CRS.from_epsg(32633))
    return MadePair(grid, seed, event)


def learnt(event: Event, side: int, folder: Path) -> Path:
    """A model of water, or of forest, from drawn scenes."""
    name, target = TARGETS[event]
    for seed in LEARNT:
        pair = pair_of(seed, event, side)
        files = write_pair(pair, folder / "pairs")
        for date, scene in enumerate((files.before, files.after)):
            labels = (pair.land(pair.grid.whole, date) == target).astype(np.uint8)
            labels[pair.sky(pair.grid.whole, date) > 0] = NODATA
            scene.rename(made(folder / "images") / f"{seed}_{date}.tif")
            write_labels(made(folder / "labels") / f"{seed}_{date}.tif", labels, pair.grid)
    settings = TrainSettings.model_validate(
        {
            "name": f"made_{name}",
            "classes": [
                {"value": 0, "name": "other", "colour": "#d8cfb4"},
                {"value": 1, "name": name, "colour": "#1f78b4"},
            ],
            "data": {
                "root": folder,
                "images": "images/*.tif",
                "labels": "labels/*.tif",
                "bands": {band: k + 1 for k, band in enumerate(BANDS)},
                "ignore": [NODATA],
            },
            "network": {"depth": 2, "base_filters": 16},
            "augment": {"haze": 0.03, "haze_decay": 1.5},
            "optimiser": {"kind": "adamw", "learning_rate": 0.003, "ema": 0.99},
            "chip": 64,
            "batch": 16,
            "epochs": 8,
        }
    )
    return train(settings, folder / "run").model


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_labels(path: Path, labels: ndarray, grid: Grid) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=grid.shape[1], height=grid.shape[0], count=1,
        dtype="uint8", crs=grid.crs, transform=grid.transform, compress="deflate",
    ) as file:  # fmt: skip
        file.write(labels, 1)


def run(event: Event, files: MadeFiles, model: Path, out: Path) -> Results:
    masked = (f"{files.clouds}:values=1,2",)
    if event == "flood":
        settings = FloodSettings(mask_after=masked, formats=("none",))
        return flood(files.before, files.after, out, model, settings)
    clearing = DeforestationSettings(mask_after=masked, formats=("none",))
    return deforestation([files.before, files.after], out, model, clearing)


def truth_of(event: Event, pair: MadePair) -> ndarray:
    """The class that the job would give each pixel if it knew the land."""
    was, is_now = (pair.land(pair.grid.whole, date) == TARGETS[event][1] for date in (0, 1))
    values = (BOTH, RECEDED, NEW, DRY) if event == "flood" else (STABLE, LOSS + 1, GAIN, OTHER)
    return np.select([was & is_now, was, is_now], values[:3], values[3])


def score(event: Event, seed: int, side: int, model: Path) -> Score:
    change = NEW if event == "flood" else LOSS + 1
    pair = pair_of(seed, event, side)
    with tempfile.TemporaryDirectory() as name:
        files, out = write_pair(pair, Path(name)), Path(name) / "out"
        names = {row.value: row.name for row in run(event, files, model, out).legend}
        with rasterio.open(out / "mask.tif") as file:
            mask = file.read(1)
        truth = truth_of(event, pair)
        points = Path(name) / "points.gpkg"
        design_sample(out / "mask.tif", points, POINTS.model_copy(update={"seed": seed}))
        interpret(points, truth, names)
        found = estimate_accuracy(points, out / "mask.tif").assessment
    seen = mask != NODATA
    there, said = (truth == change) & seen, mask == change
    share = found.shares[found.classes.index(names[change])]
    true_share = float(there.sum() / seen.sum())
    return Score(
        seed,
        float((there & said).sum() / (there | said).sum()),
        float(said.sum() / there.sum()),
        bool(share.low <= true_share <= share.high),
        *(100 * s for s in (share.low, true_share, share.high)),
    )


def interpret(points: Path, truth: ndarray, names: Mapping[int, str]) -> None:
    """Fill in every point's class, as an interpreter who knows the land."""
    at = {p.id: (p.row, p.col) for p in read_design(design_path(points)).points}
    frame = pyogrio.read_dataframe(points, layer="points")
    frame["class"] = [names[int(truth[at[i]])] for i in frame["id"]]
    pyogrio.write_dataframe(frame, points, layer="points", driver="GPKG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--side", type=int, default=512)
    args = parser.parse_args()
    figures = {}
    for event in TARGETS:
        with tempfile.TemporaryDirectory() as name:
            model = learnt(event, args.side, Path(name))
            scores = [score(event, seed, args.side, model) for seed in UNSEEN[: args.pairs]]
        for s in scores:
            print(
                f"{event} {s.seed}: IoU {s.iou:.3f}, area {s.area_ratio:.3f} of the true one, "
                f"true share {s.truth:.2f} % in {s.low:.2f} to {s.high:.2f}: {s.held}",
                flush=True,
            )
        off = [abs(s.area_ratio - 1) for s in scores]
        print(
            f"{event}, {len(scores)} pairs: median IoU {np.median([s.iou for s in scores]):.3f} "
            f"(least {min(s.iou for s in scores):.3f}), area off by {np.median(off):.1%} in the "
            f"median, the interval held {sum(s.held for s in scores)} times",
            flush=True,
        )
        figures[event] = [vars(s) for s in scores]
    made(args.out)
    (args.out / "made_change.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
