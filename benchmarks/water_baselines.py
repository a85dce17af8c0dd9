"""What two thresholds on spectral indices reach on the patches of ``water``, and the U-Net's lead.

    python -m benchmarks.crossval water --data water_hls --out OUT
    python -m benchmarks.water_baselines --data water_hls --out OUT

The second command maps every patch by MNDWI > 0 and NDWI > 0, which nothing is fitted for, and
compares with what the folds in OUT came to as ``segment`` maps. Pooled water IoU is that of the
counts of all places added up; intervals are percentile bootstraps over places, and all methods
share the draws, so that those of differences are paired. It prints tables of docs/accuracy.md;
expect half a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.crossval import CONFIGS, FOLDS, GROUPS
from geounet.learn import metrics
from geounet.learn.labelled import LabelledScene, open_labelled
from geounet.learn.train_settings import TrainSettings, load_settings

DRAWS = 10_000
MODEL = "U-Net `water`"
WITH_TTA = "U-Net `water`, `--tta`"
VIEWS = {MODEL: "as segment maps", WITH_TTA: "with --tta"}
INDICES = {"MNDWI > 0": "swir1", "NDWI > 0": "nir"}
Counts = dict[str, np.ndarray]
"""Confusion matrix of each place, by (truth, mapped)."""


def of_folds(out: Path) -> list[dict[str, Counts]]:
    """What each fold counted, by method and place."""
    folds = []
    for number in range(1, FOLDS + 1):
        counts = json.loads((out / f"fold{number}" / "fold.json").read_text())["counts"]
        folds.append(
            {
                name: {place: np.array(c["confusion"]) for place, c in counts[view].items()}
                for name, view in VIEWS.items()
            }
        )
    return folds


def of_indices(settings: TrainSettings) -> dict[str, Counts]:
    """(green − other) / (green + other) > 0 is water; where it is undefined, land."""
    found: dict[str, Counts] = {name: {} for name in INDICES}
    for scene in open_labelled(settings.data, settings.classes):
        image, labels = scene.read(scene.grid.whole)
        for name, other in INDICES.items():
            water = by_index(image, scene, other).astype(np.uint8)
            matrix = metrics.confusion_of(labels, water, 2)
            place = scene.row[GROUPS["water"]]
            found[name][place] = found[name].get(place, 0) + matrix
    return found


def by_index(image: np.ndarray, scene: LabelledScene, other: str) -> np.ndarray:
    """Where the normalised difference of green and another band is over 0."""
    names = [band.name for band in scene.scene.bands]
    green, band = image[:, :, names.index("green")], image[:, :, names.index(other)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (green - band) / (green + band) > 0


def water_iou(matrices: np.ndarray) -> np.ndarray:
    """Of (…, truth, mapped)."""
    hits = matrices[..., 1, 1]
    return hits / (hits + matrices[..., 0, 1] + matrices[..., 1, 0])


def table(pooled: dict[str, np.ndarray]) -> str:
    """A row per method; matrices are (place, truth, mapped), in one order of places."""
    rng = np.random.default_rng(0)
    count = len(pooled[MODEL])
    drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)
    draws = {name: water_iou(np.tensordot(drawn, m, axes=1)) for name, m in pooled.items()}
    lines = [
        "| method | pooled water IoU | 95 % interval | precision | recall | U-Net minus method |",
        "|---|---|---|---|---|---|",
    ]
    for name, matrices in pooled.items():
        total, gain = matrices.sum(axis=0), draws[MODEL] - draws[name]
        low, high = np.percentile(draws[name], (2.5, 97.5))
        least, most = np.percentile(gain, (2.5, 97.5))
        lead = water_iou(pooled[MODEL].sum(axis=0)) - water_iou(total)
        told = "—" if name == MODEL else f"{lead:+.3f} ({least:+.3f} to {most:+.3f})"
        lines.append(
            f"| {name} | {water_iou(total):.3f} | {low:.3f} to {high:.3f} "
            f"| {metrics.precision(total)[1]:.3f} | {metrics.recall(total)[1]:.3f} | {told} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of water_hls")
    parser.add_argument("--out", type=Path, required=True, help="OUT of benchmarks.crossval")
    args = parser.parse_args()
    folds = of_folds(args.out)
    indices = of_indices(load_settings(CONFIGS / "water.yaml", args.data))
    methods = {name: {p: m for f in folds for p, m in f[name].items()} for name in VIEWS} | indices
    places = sorted(methods[MODEL])
    print(table({name: np.stack([c[p] for p in places]) for name, c in methods.items()}))
    print("\n| fold | places | U-Net | `--tta` | MNDWI > 0 |\n|---|---|---|---|---|")
    for number, fold in enumerate(folds, 1):
        here = list(fold[MODEL])
        compared = (fold[MODEL], fold[WITH_TTA], indices["MNDWI > 0"])
        ious = [water_iou(sum(counts[p] for p in here)) for counts in compared]
        print(f"| {number} | {len(here)} | {' | '.join(f'{iou:.3f}' for iou in ious)} |")


if __name__ == "__main__":
    main()
