"""Cross-validated accuracy of a model that we ship, and the model itself.

    python -m benchmarks.crossval forest --data forest_amazon --out OUT [--ship geounet/models]
    python -m benchmarks.crossval water --data water_hls --out OUT [--ship geounet/models]

Each of five folds trains with configs/NAME.yaml as it stands and maps what it has not seen with
the model file as shipped (float16, folded), through the same engine as ``geounet segment``;
nothing is chosen on it. Folds of forest keep a scene together, those of water a place. Scores are
those of the counts of all folds added up; intervals are percentile bootstraps over scenes or
places. ``--split COLUMN=VALUE`` trains once more, on everything else, and scores that alone.

A training that is finished is not run again, and one that was interrupted goes on. ``--ship`` then
trains on everything and writes the model, with these scores and the mean temperature of the folds
on its card. The calibration error is that of each fold with its own temperature, so it is too good
by that one number.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geounet.atomic import write_bytes
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.learn.evaluation import evaluate
from geounet.learn.scores import Counts, with_intervals
from geounet.learn.split_settings import SplitSettings
from geounet.learn.splits import each_fold
from geounet.learn.train_settings import TrainSettings, load_settings
from geounet.learn.training import train
from geounet.learn.training_folder import MODEL
from geounet.model_file import load_card, load_model, save_model
from geounet.reporting import Silence

FOLDS = 5
CONFIGS = Path(__file__).parents[1] / "configs"
GROUPS = {"water": "place", "forest": None}
VIEWS = {"as segment maps": False, "with --tta": True}
KINDS = ("confusion", "boundary", "reliability")


class Printed(Silence):
    """Prints the record of each epoch."""

    def record(self, fields: Mapping[str, object]) -> None:
        print(json.dumps(fields), flush=True)


@dataclass(frozen=True)
class Fold:
    """What one fold came to: counts of each group, by view; processor time of training; the
    temperature that its training fitted to what it held out."""

    counts: dict[str, dict[str, Counts]]
    cpu_seconds: float
    temperature: float


def folds_of(settings: TrainSettings, group: str | None) -> tuple[TrainSettings, ...]:
    """The settings of each fold."""
    by = "column" if group else "scene"
    return each_fold(_holding_out(settings, SplitSettings(folds=FOLDS, by=by, column=group)))


def run_fold(settings: TrainSettings, group: str | None, out: Path) -> Fold:
    """Train and score one fold in ``out``, or take what it came to before."""
    done = out / "fold.json"
    if not done.exists():
        started = time.process_time()
        trained = train(settings, out / "run", reporter=Printed(), resume=out.exists())
        seconds = time.process_time() - started
        counts = {}
        for view, tta in VIEWS.items():
            options = EvaluateSettings(split="validation", group=group, tta=tta, overwrite=True)
            found = evaluate(trained.model, settings, out / f"scores{tta:d}", options)
            counts[view] = {
                name: {kind: counted[kind].tolist() for kind in KINDS}
                for name, counted in found.groups.items()
            }
        write_bytes(done, json.dumps({"counts": counts, "cpu_seconds": seconds}).encode())
    fields = json.loads(done.read_text())
    counts = {
        view: {
            name: {kind: np.array(counted[kind], np.int64) for kind in KINDS}
            for name, counted in groups.items()
        }
        for view, groups in fields["counts"].items()
    }
    return Fold(counts, fields["cpu_seconds"], load_card(out / "run" / MODEL).temperature)


def scores(folds: list[Fold], view: str, settings: TrainSettings) -> dict[str, dict]:
    """Every score of the counts of all folds, with its interval: overall, and by class name."""
    groups = [counts for fold in folds for counts in fold.counts[view].values()]
    found = with_intervals(groups, settings.classes, draws=10_000, seed=0)
    return {"overall": found["overall"], "classes": {c["name"]: c for c in found["classes"]}}


def table(found: Mapping[str, dict], settings: TrainSettings) -> str:
    """Markdown: a row per score, a column per view."""
    lines = [f"| score | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for name in ("macro_iou", "macro_f1", "accuracy", "expected_calibration_error"):
        cells = [_cell(view["overall"][name]) for view in found.values()]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    for land_class in settings.classes:
        for name in ("iou", "f1", "precision", "recall", "boundary_f1"):
            cells = [_cell(view["classes"][land_class.name][name]) for view in found.values()]
            label = f"{name.replace('_', ' ')} {land_class.name}"
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def temperature_of(folds: list[Fold]) -> float:
    """The geometric mean of the folds': each was fitted to pixels that its model did not learn."""
    return float(np.exp(np.mean([np.log(fold.temperature) for fold in folds])))


def ship(name: str, settings: TrainSettings, folds: list[Fold], out: Path, folder: Path) -> None:
    """Train on everything, and write the model with the cross-validated accuracy on its card."""
    trained = train(settings, out, reporter=Printed(), resume=out.exists())
    model = load_model(trained.model)
    found = scores(folds, "as segment maps", settings)
    groups = sum(len(fold.counts["as segment maps"]) for fold in folds)
    how = (
        f"pooled over {FOLDS} folds that keep a {GROUPS[name] or 'scene'} together "
        f"({groups} in all); 95 % interval by bootstrap over them"
    )
    accuracy = {
        f"IoU {c.name}": f"{_cell(found['classes'][c.name]['iou'])}: {how}"
        for c in settings.classes
    } | {"macro IoU": f"{_cell(found['overall']['macro_iou'])}: {how}"}
    data = f"--data {settings.data.root.name}"
    card = model.card.model_copy(
        update={
            "accuracy": accuracy,
            "temperature": temperature_of(folds),
            "training_command": f"python -m benchmarks.crossval {name} {data} --out OUT "
            "--ship geounet/models",
        }
    )
    save_model(folder / f"{name}.safetensors", model.network, card)


def _holding_out(settings: TrainSettings, split: SplitSettings) -> TrainSettings:
    data = settings.data.model_copy(update={"validation": split})
    return settings.model_copy(update={"data": data})


def _cell(score: Mapping[str, float | None]) -> str:
    if score["value"] is None:
        return "—"
    ends = f" [{score['low']:.3f}, {score['high']:.3f}]" if score["low"] is not None else ""
    return f"{score['value']:.3f}{ends}"


def _report(found: Mapping[str, dict], settings: TrainSettings, folds: list[Fold]) -> None:
    print(table(found, settings))
    hours = sum(fold.cpu_seconds for fold in folds) / 3600
    print(f"\n{len(folds)} trainings took {hours:.2f} CPU-hours", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=sorted(GROUPS))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--config", type=Path, help="in place of configs/NAME.yaml")
    parser.add_argument("--folds", type=int, nargs="*", help="only these, from 1")
    parser.add_argument("--split", help="COLUMN=VALUE: hold out that, in place of the folds")
    parser.add_argument("--ship", type=Path, help="folder for the model trained on everything")
    args = parser.parse_args()
    settings = load_settings(args.config or CONFIGS / f"{args.name}.yaml", args.data)
    group = GROUPS[args.name]
    if args.split:
        column, _, value = args.split.partition("=")
        split = _holding_out(settings, SplitSettings(column=column, values=(value,)))
        folds = [run_fold(split, group, args.out / f"{column}-{value}")]
    else:
        numbered = enumerate(folds_of(settings, group), 1)
        chosen = [(k, s) for k, s in numbered if not args.folds or k in args.folds]
        folds = [run_fold(s, group, args.out / f"fold{k}") for k, s in chosen]
    found = {view: scores(folds, view, settings) for view in VIEWS}
    write_bytes(args.out / "accuracy.json", json.dumps(found, indent=1).encode())
    _report(found, settings, folds)
    if args.ship:
        ship(args.name, settings, folds, args.out / "all", args.ship)


if __name__ == "__main__":
    main()
