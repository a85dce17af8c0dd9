"""From a model and labelled scenes to its score: check, plan, compare every pixel once, write.

Scenes are cut, read, scaled and mapped as ``segment`` does, by the same engine, and no scene is
held in memory. Cores partition a scene, and each also sees a margin, so that outlines are matched
as in the whole scene.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from geounet.cluster import cluster
from geounet.engine import Trouble, run
from geounet.errors import InputError, InterruptedJobError, ModelError, OutputError, SettingsError
from geounet.fit import Fit, fit, stretched
from geounet.grid import Plan, Tile, Window, intersect, shape_of
from geounet.learn.boundary import margin
from geounet.learn.calibration import best_temperature, untold
from geounet.learn.evaluate_settings import EvaluateSettings, Part
from geounet.learn.evaluation_report import Evaluation, refuse_results, write_results
from geounet.learn.identity import held_out_by
from geounet.learn.label_coding import refuse_unknown, some
from geounet.learn.labelled import LabelledScene, open_labelled
from geounet.learn.scores import add_up, no_counts
from geounet.learn.scoring import Item, Scored, Scoring, Subject, score_tiles
from geounet.learn.splits import grounds_of
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training_data import told_once
from geounet.model_file import Model, load_model
from geounet.planning import cache_of, cut
from geounet.preparation import forward_of
from geounet.reporting import Reporter, Silence
from geounet.stop import stop_on_signals

SAID_BY_FIT = "no scaling of the image is known"
"""A note for training; of an evaluation, matching scene and model says what is taken instead."""
SHOWN = 8
"""Notes that are told before the rest is only counted: a folder may hold thousands of patches."""


def evaluate(
    model: str | Path,
    settings: TrainSettings,
    out: str | Path,
    options: EvaluateSettings | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Compare a model's maps with labels; ``out`` gets evaluation.json and scenes.csv.

    Args:
        model: the name of a shipped model, or a ``.safetensors`` file.
        settings: a config of training: its data, classes and split are used.
        out: a folder; results that it holds are replaced with ``overwrite`` only.
        options: which labels, how they are grouped, how the network is run.
        reporter: is told of notes and progress.

    Raises:
        ModelError: if the model wants bands or tells classes that the config does not.
        SettingsError: if the config has no such split or column.
        InputError: if a file cannot be used, a label value is unknown, or nothing is labelled.
        OutputError: if a result is there already or cannot be written.
        InterruptedJobError: if it was asked to stop; nothing is written then.
    """
    options, reporter, out = options or EvaluateSettings(), reporter or Silence(), Path(out)
    loaded = load_model(model)
    refuse_results(out, options)
    _refuse_other_classes(loaded, settings)
    options = _with_one_window(loaded, options)
    subjects, notes = _subjects(loaded, settings, options)
    groups = {s.labelled.name: _group_of(s.labelled, options.group) for s in subjects}
    for note in notes:
        reporter.note(note)
    counts = _count(subjects, loaded, options, reporter)
    refuse_unknown(counts.values, settings.data, loaded.card.classes)
    scenes = {
        subject.labelled.name: found
        for subject, found in zip(subjects, counts.scenes, strict=True)
        if found["confusion"].any()
    }
    if not scenes:
        raise InputError(
            f"{settings.data.root}: the {_part(settings, options)} part has no labelled pixel with "
            "data; check the labels, or choose another --split"
        )
    total = add_up(scenes.values(), len(loaded.card.classes))
    fitted = best_temperature(total["likelihood"]) if options.fit_temperature else None
    if options.fit_temperature and fitted is None:
        notes = (*notes, untold(loaded.card.temperature))
        reporter.note(notes[-1])
    evaluation = Evaluation(
        loaded, _part(settings, options), scenes, groups, notes, temperature=fitted
    )
    return write_results(evaluation, out, options)


def _refuse_other_classes(model: Model, settings: TrainSettings) -> None:
    ours, theirs = ({(c.value, c.name) for c in x.classes} for x in (model.card, settings))
    for differ, where in ((ours - theirs, "config lacks"), (theirs - ours, "model lacks")):
        if differ:
            listed = some([f"{value} {name}" for value, name in sorted(differ)])
            raise ModelError(
                f"{model.path}: the {where} class {listed}; write the model's classes into the "
                "config, and under data.remap what the labels hold for them"
            )


def _with_one_window(model: Model, options: EvaluateSettings) -> EvaluateSettings:
    """The window, chosen once: what memory is free may differ from scene to scene."""
    plan = cut((1, 1), model.card, options, margin(options.tolerance))
    return options.model_copy(update={"window": plan.window})


def _part(settings: TrainSettings, options: EvaluateSettings) -> Part:
    if options.split == "validation" and settings.data.validation is None:
        raise SettingsError(
            "--split validation: the config has no data.validation; add one, or use --split all"
        )
    return options.split or ("validation" if settings.data.validation else "all")


def _subjects(
    model: Model, settings: TrainSettings, options: EvaluateSettings
) -> tuple[list[Subject], tuple[str, ...]]:
    """The scenes of the split, matched to the model, and what the user should know."""
    part = _part(settings, options)
    # In the card's order of classes, which is that of the network's outputs.
    labelled = open_labelled(settings.data, model.card.classes)
    grounds = grounds_of(labelled, settings)
    subjects, notes = list[Subject](), list[tuple[str, str]]()
    for scene, ground in zip(labelled, grounds, strict=True):
        if part == "validation" and not ground.validation:
            continue
        _refuse_missing_bands(model, scene)
        fitted = stretched(fit(scene.scene, model.card), model.card)
        plan = _plan(scene, model, options)
        subjects.append(
            Subject(
                scene=fitted.scene,
                labelled=scene,
                ground=ground,
                part=part,
                chip=settings.chip,
                forward=forward_of(model, fitted, options),
                cache=cache_of(fitted.scene, plan),
            )
        )
        notes += [(scene.name, note) for note in _notes_on(scene, fitted)]
    held = {s.name: g.validation for s, g in zip(labelled, grounds, strict=True)}
    doubts = _split_doubt(model, held) if part == "validation" else []
    return subjects, _some_of([*doubts, *told_once(notes)])


def _notes_on(labelled: LabelledScene, fitted: Fit) -> list[str]:
    """What opening and matching the scene told, in the words of a config."""
    own = [note for note in labelled.notes if not note.startswith(SAID_BY_FIT)]
    name = f"{fitted.scene.name}: "
    doubts = [n.removeprefix(name) for n in fitted.notes if n not in labelled.scene.notes]
    return [re.sub(r"--(scale|offset|resolution)\b", r"data.\1", n) for n in (*own, *doubts)]


def _split_doubt(model: Model, held: Mapping[str, Sequence[Window]]) -> list[str]:
    if model.card.held_out in ("", held_out_by(held)):
        return []
    return [
        f"the training of {model.card.name} held out other ground than data.validation does here: "
        "scores are too good where it learnt from what is scored"
    ]


def _some_of(notes: Sequence[str]) -> tuple[str, ...]:
    more = (f"and {len(notes) - SHOWN} more notes",) if len(notes) > SHOWN else ()
    return (*notes[:SHOWN], *more)


def _refuse_missing_bands(model: Model, labelled: LabelledScene) -> None:
    bands = labelled.scene.bands
    missing = [n for n in model.card.bands if not any(b.answers_to(n) for b in bands)]
    if missing:
        raise ModelError(
            f"{model.path}: takes band {some(missing)}, which data.bands of the config lacks (it "
            f"has {some([b.name for b in bands])}); add it there, or take another model"
        )


def _group_of(labelled: LabelledScene, column: str | None) -> str:
    if column is None:
        return labelled.name
    if column not in labelled.row:
        columns = ", ".join(labelled.row) or "no table is given"
        raise SettingsError(
            f"--group {column}: not a column of the table (it has: {columns}); see data.table"
        )
    return labelled.row[column]


def _plan(labelled: LabelledScene, model: Model, options: EvaluateSettings) -> Plan:
    return cut(labelled.grid.shape, model.card, options, margin(options.tolerance))


class _Sums:
    """Counts by scene, and label values, that grow as tiles come in; their order is no matter."""

    def __init__(self, scenes: int, classes: int) -> None:
        self.scenes = [no_counts(classes) for _ in range(scenes)]
        self.values: Counter[int] = Counter()

    def take(self, scored: Scored) -> None:
        for name, counts in scored.counts.items():
            self.scenes[scored.item.index][name] += counts
        self.values.update(scored.values)


def _name(item: Item) -> str:
    return f"{item.subject.labelled.name}: {item.tile.place}"


def _count(
    subjects: Sequence[Subject], model: Model, options: EvaluateSettings, reporter: Reporter
) -> _Sums:
    """Compare every pixel of every subject once."""
    classes = len(model.card.classes)
    sums = _Sums(len(subjects), classes)
    scoring = Scoring(classes, options.tolerance, options.fit_temperature is not None)
    plans = [_plan(subject.labelled, model, options) for subject in subjects]
    items = list(_items(subjects, plans))
    reporter.start("evaluating", sum(_pixels(item.tile) for item in items), 0)

    def commit(done: Sequence[Scored]) -> None:
        for scored in done:
            sums.take(scored)
            reporter.advance(_pixels(scored.item.tile))

    try:
        with stop_on_signals() as stop, cluster(options) as client:
            trouble = Trouble(options.tile_timeout, name=_name)
            run(client, partial(score_tiles, scoring), items, commit, stop, trouble)
        if stop():
            raise InterruptedJobError(
                "the evaluation was stopped, and nothing is written: run it again",
                stop.exit_code or OutputError.exit_code,
            )
    finally:
        reporter.finish()
    return sums


def _items(subjects: Sequence[Subject], plans: Sequence[Plan]) -> Iterator[Item]:
    """Scene by scene, the tiles with ground to compare."""
    for index, (subject, plan) in enumerate(zip(subjects, plans, strict=True)):
        for tile in plan.tiles:
            held = (intersect(tile.core, window) for window in subject.ground.validation)
            if subject.part != "validation" or any(held):
                yield Item(index, subject, tile)


def _pixels(tile: Tile) -> int:
    rows, cols = shape_of(tile.core)
    return rows * cols
