"""How far the model ``forest`` falls where it did not learn: a beech and spruce forest in Romania.

    python -m benchmarks.forest_abroad --data sentinel2_romania_forest_timeseries [--model FILE]

Six Sentinel-2 scenes of 100 × 100 pixels (10 m, reflectance × 10000, one per summer) against
Copernicus tree cover density of 2018 (20 m): 50 % and more is forest. The model learnt from 8-bit
pictures of the Amazon, so ``segment`` stretches these by their own percentiles. Beside it stand the
share of forest, which a map of forest alone would reach, and NDVI above the threshold that suits
the labels best, chosen on the labels themselves.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.crossval import CONFIGS
from geounet.learn import metrics
from geounet.learn.data_settings import DataSettings
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.learn.evaluation import evaluate
from geounet.learn.labelled import open_labelled
from geounet.learn.train_settings import TrainSettings, load_settings

LABELS = "tree_cover_density_2018_romania.tif"
BANDS = {"blue": 1, "green": 2, "red": 3, "nir": 4}


def settings_of(root: Path, bands: tuple[str, ...]) -> TrainSettings:
    """The six scenes, with tree cover as labels of the classes of ``forest``."""
    base = load_settings(CONFIGS / "forest.yaml")
    data = DataSettings(
        root=root,
        images=tuple(sorted(p.name for p in root.glob("*.tif") if p.name != LABELS)),
        labels=(LABELS,),
        bands={name: BANDS[name] for name in bands},
        nodata=0,
        remap={share: "forest" if share >= 50 else "other" for share in range(101)},
    )
    return base.model_copy(update={"data": data})


def by_ndvi(settings: TrainSettings) -> tuple[float, np.ndarray]:
    """The threshold on NDVI of the best macro IoU, and its confusion matrix over all scenes."""
    index, truth = [], []
    for scene in open_labelled(settings.data, settings.classes):
        image, labels = scene.read(scene.grid.whole)
        red, nir = image[..., 2], image[..., 3]
        index.append(((nir - red) / (nir + red))[labels != metrics.NODATA])
        truth.append(labels[labels != metrics.NODATA])
    values, classes = np.concatenate(index), np.concatenate(truth)
    tried = {
        float(t): metrics.confusion_of(classes, (values > t).astype(np.uint8), 2)
        for t in np.linspace(0.2, 0.95, 76)
    }
    best = max(tried, key=lambda t: float(metrics.iou(tried[t]).mean()))
    return best, tried[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="forest")
    args = parser.parse_args()
    settings = settings_of(args.data, ("blue", "green", "red"))
    print("| map | macro IoU | IoU other | IoU forest | accuracy |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, tta in (("forest", False), ("forest, --tta", True)):
            options = EvaluateSettings(split="all", tta=tta, overwrite=True)
            found = evaluate(args.model, settings, Path(folder) / "out", options)
            print(_row(name, found.total["confusion"]), flush=True)
            for scene, counts in found.scenes.items() if not tta else ():
                print(_row(f"  {scene}", counts["confusion"]))
    truth = found.total["confusion"].sum(axis=1)
    print(_row("all forest", np.stack([np.zeros_like(truth), truth], axis=1)))
    threshold, confusion = by_ndvi(settings_of(args.data, tuple(BANDS)))
    print(_row(f"NDVI > {threshold:.2f}, chosen on these labels", confusion))


def _row(name: str, confusion: np.ndarray) -> str:
    other, forest = metrics.iou(confusion)
    share = np.trace(confusion) / confusion.sum()
    return f"| {name} | {(other + forest) / 2:.3f} | {other:.3f} | {forest:.3f} | {share:.3f} |"


if __name__ == "__main__":
    main()
