"""Cross-validated accuracy of the shipped model ``water``, and the model itself.

    python benchmarks/water_crossval.py --data water_hls --out OUT [--ship geounet/models]

Five folds grouped by place: no place is on both sides of a fold. Each fold trains with
configs/water.yaml as it stands and maps the patches that it has not seen with the model file as
shipped (float16, folded); nothing is chosen on them. The pooled IoU is that of one confusion
matrix over all 260 patches. Its 95 % interval is a percentile bootstrap that draws places with
replacement, as patches of one place are not independent. A fold whose result exists is not run
again. ``--ship`` then trains on all patches and puts the model and its accuracy there.

It prints the table of docs/accuracy.md; expect about 15 minutes a fold on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from geounet.atomic import write_bytes
from geounet.learn import metrics
from geounet.learn.samples import Chips
from geounet.learn.split_settings import SplitSettings
from geounet.learn.splits import each_fold
from geounet.learn.train_settings import TrainSettings, load_settings
from geounet.learn.training import confusions, train
from geounet.learn.training_data import load_training_data
from geounet.model_file import load_model, save_model
from geounet.reporting import Silence

FOLDS = 5
DRAWS = 10_000
CONFIG = Path(__file__).parents[1] / "configs" / "water.yaml"
MODEL = "U-Net `water`"
INDICES = {"MNDWI > 0": "swir1", "NDWI > 0": "nir"}


class Printed(Silence):
    """Prints the record of each epoch."""

    def record(self, fields: Mapping[str, object]) -> None:
        print(json.dumps(fields), flush=True)


def folds_of(settings: TrainSettings) -> tuple[TrainSettings, ...]:
    """The settings of each fold: places are kept together."""
    split = SplitSettings(folds=FOLDS, by="column", column="place")
    data = settings.data.model_copy(update={"validation": split})
    return each_fold(settings.model_copy(update={"data": data}))


def run_fold(settings: TrainSettings, out: Path) -> dict[str, list]:
    """Out-of-fold confusion matrices of each patch, by the network and by the indices."""
    result = out / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    trained = train(settings, out, reporter=Printed(), overwrite=True)
    data = load_training_data(settings)
    model = load_model(trained.model)
    scaling = (jnp.float32(model.card.mean), jnp.float32(model.card.std))
    found = {MODEL: confusions(model.network, scaling, data.validation, 2)}
    bands = list(settings.data.bands)
    found |= {name: by_index(data.validation, bands, band) for name, band in INDICES.items()}
    fields = {name: matrices.tolist() for name, matrices in found.items()}
    patches = [data.scenes[place.scene] for place in data.validation.places]
    fields |= {"stem": [p.name for p in patches], "place": [p.row["place"] for p in patches]}
    write_bytes(result, json.dumps(fields).encode())
    return fields


def by_index(samples: Chips, bands: list[str], other: str) -> np.ndarray:
    """(green − other) / (green + other) > 0 is water; where it is undefined, land."""
    found = []
    for image, labels in (samples[i] for i in range(len(samples))):
        green, band = image[:, :, bands.index("green")], image[:, :, bands.index(other)]
        with np.errstate(divide="ignore", invalid="ignore"):
            water = (green - band) / (green + band) > 0
        found.append(metrics.confusion_of(labels, water.astype(np.uint8), 2))
    return np.stack(found)


def water_iou(matrices: np.ndarray) -> np.ndarray:
    """Pooled IoU of the second class over the first axis of (place, draw…, truth, mapped)."""
    hits = matrices[..., 1, 1]
    return hits / (hits + matrices[..., 0, 1] + matrices[..., 1, 0])


def by_place(matrices: np.ndarray, places: np.ndarray) -> np.ndarray:
    names, index = np.unique(places, return_inverse=True)
    total = np.zeros((len(names), 2, 2))
    np.add.at(total, index, matrices)
    return total


def bootstrap(matrices: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The score of each draw of places; the same draws for every method, so they pair."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(matrices), np.full(len(matrices), 1 / len(matrices)), DRAWS)
    return score(np.tensordot(drawn.astype(float), matrices, axes=1))


def summarise(folds: list[dict[str, list]]) -> dict[str, dict[str, float]]:
    places = np.concatenate([np.array(fold["place"]) for fold in folds])
    pooled = {
        name: by_place(np.concatenate([np.array(fold[name]) for fold in folds]), places)
        for name in (MODEL, *INDICES)
    }
    draws = {name: bootstrap(matrices, water_iou) for name, matrices in pooled.items()}
    rows = {}
    for name, matrices in pooled.items():
        total = matrices.sum(axis=0)
        gain = draws[MODEL] - draws[name]
        rows[name] = {
            "iou": float(water_iou(total)),
            "low": float(np.percentile(draws[name], 2.5)),
            "high": float(np.percentile(draws[name], 97.5)),
            "precision": float(metrics.precision(total)[1]),
            "recall": float(metrics.recall(total)[1]),
            "gain": float(water_iou(pooled[MODEL].sum(axis=0)) - water_iou(total)),
            "gain_low": float(np.percentile(gain, 2.5)),
            "gain_high": float(np.percentile(gain, 97.5)),
        }
    return rows


def table(rows: dict[str, dict[str, float]], folds: list[dict[str, list]]) -> str:
    lines = [
        "| method | pooled water IoU | 95 % interval | precision | recall | U-Net minus method |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        gain = f"{row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"
        lines.append(
            f"| {name} | {row['iou']:.3f} | {row['low']:.3f} to {row['high']:.3f} "
            f"| {row['precision']:.3f} | {row['recall']:.3f} | {gain if row['gain'] else '—'} |"
        )
    lines += ["", "| fold | patches | places | U-Net | MNDWI > 0 |", "|---|---|---|---|---|"]
    for number, fold in enumerate(folds, 1):
        ious = [water_iou(np.sum(fold[name], axis=0)) for name in (MODEL, "MNDWI > 0")]
        lines.append(
            f"| {number} | {len(fold['stem'])} | {len(set(fold['place']))} "
            f"| {ious[0]:.3f} | {ious[1]:.3f} |"
        )
    return "\n".join(lines)


def ship(settings: TrainSettings, row: dict[str, float], out: Path, folder: Path) -> None:
    """Train on every patch, and write the model with the cross-validated accuracy on its card."""
    trained = train(settings, out, reporter=Printed(), overwrite=True)
    model = load_model(trained.model)
    accuracy = (
        f"{row['iou']:.3f} (95 % interval {row['low']:.3f} to {row['high']:.3f}): pooled over "
        "260 patches, 5-fold cross-validation grouped by place, bootstrap by place"
    )
    card = model.card.model_copy(
        update={
            "accuracy": {"IoU water": accuracy},
            "training_command": "python benchmarks/water_crossval.py --data water_hls --out OUT "
            "--ship geounet/models",
        }
    )
    save_model(folder / f"{card.name}.safetensors", model.network, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of water_hls")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--ship", type=Path, help="folder for the model trained on everything")
    args = parser.parse_args()
    settings = load_settings(CONFIG, args.data)
    folds = [
        run_fold(fold, args.out / f"fold{number}")
        for number, fold in enumerate(folds_of(settings), 1)
    ]
    rows = summarise(folds)
    write_bytes(args.out / "accuracy.json", json.dumps(rows, indent=1).encode())
    print(table(rows, folds))
    if args.ship:
        ship(settings, rows[MODEL], args.out / "all", args.ship)


if __name__ == "__main__":
    main()
