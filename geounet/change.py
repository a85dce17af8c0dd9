"""From scenes of several dates to a map of what changed: check, plan, compare tiles, write.

It is `geounet.segmentation` with more than one scene: the same tiles, journal, resume and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from distributed import Client

from geounet.area import HECTARE
from geounet.change_labelling import ChangeWork, compare_tiles, hidden_key
from geounet.change_preparation import (
    PreparedChange,
    Question,
    change_fingerprint,
    prepare_change,
    with_window_of_change,
)
from geounet.change_settings import ChangeSettings
from geounet.cog import CogStyle, write_cog
from geounet.features import Features
from geounet.fit import stretched
from geounet.job import Job
from geounet.map_job import Recipe, make_map
from geounet.outputs import (
    REPORTS,
    Added,
    MapSource,
    Results,
    pieces_of,
    total,
    write_vectors,
)
from geounet.preparation import forward_of
from geounet.reporting import Reporter, Silence
from geounet.scene_shift import scene_shift
from geounet.stop import Talk

OTHERS = ("score.tif", "loss_date.tif", "zones.csv", "alerts.csv", "alerts.gpkg")


@dataclass(frozen=True)
class Made:
    """A map of change that lies in its folder, for what else is written of it.

    Attributes:
        told: whoever writes a file adds what the report has to say of it.
    """

    out: Path
    prepared: PreparedChange
    source: MapSource
    told: dict[str, Any]


def change(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    question: Question,
    settings: ChangeSettings,
    reporter: Reporter | None = None,
) -> Results:
    """Compare scenes of two or more dates into the folder ``out``: mask, polygons, report.

    Args:
        scenes: the oldest first; the map lies on the grid of the first.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        question: what is asked of the dates.
        settings: how to read, compare and write.
        reporter: is told of notes and progress.

    Raises:
        GeounetError: the scenes, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    prepared = prepare_change(scenes, model, question, settings)

    def after(earlier: Mapping[str, Any]) -> Recipe:
        return _recipe(_with_pixels(with_window_of_change(prepared, earlier)))

    names = _output_names(settings, question)
    return make_map(Path(out), names, settings, after, reporter or Silence())


def _output_names(settings: ChangeSettings, question: Question) -> tuple[str, ...]:
    score = ("score.tif",) if settings.score else ()
    vectors = [f"features.{name}" for name in settings.vector_formats]
    return (*score, "mask.tif", *vectors, *question.further, *REPORTS)


def _with_pixels(prepared: PreparedChange) -> PreparedChange:
    """With what pixels tell: shifts, and each date's percentiles if the model asks for them."""
    card, fits = prepared.model.card, prepared.fits
    shifts = tuple(scene_shift(fits[0].scene, fitted.scene) for fitted in fits[1:])
    return replace(prepared, fits=tuple(stretched(f, card) for f in fits), shifts=shifts)


def _recipe(prepared: PreparedChange) -> Recipe:
    question, told = prepared.question, dict[str, Any]()
    return Recipe(
        title=question.title,
        doing="comparing",
        measure="score",
        dates=[[f.scene] for f in prepared.fits],
        classes=question.classes,
        card=prepared.model.card,
        plan=prepared.plan,
        identity=change_fingerprint(prepared),
        notes=prepared.notes,
        task=lambda store: partial(compare_tiles, _work(store, prepared)),
        write=partial(_write, prepared=prepared, told=told),
        about=lambda source: _about(source, prepared, told),
        forward=_work("", prepared).forwards[0],
        others=OTHERS,
    )


def _work(store: str, prepared: PreparedChange) -> ChangeWork:
    settings, fits = prepared.settings, prepared.fits
    return ChangeWork(
        scenes=tuple(f.scene for f in fits),
        forwards=tuple(forward_of(prepared.model, f, settings) for f in fits),
        target=prepared.target,
        rule=prepared.question.rule,
        ancillary=prepared.ancillary,
        store=store,
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )


def _write(
    client: Client,
    job: Job,
    source: MapSource,
    talk: Talk,
    prepared: PreparedChange,
    told: dict[str, Any],
) -> tuple[list[Path], int]:
    """All files but the reports; ``told`` gets the hectares of each class in the features."""
    kept: dict[int, float] = {}
    made = Made(job.out, prepared, source, told)
    rasters = _write_rasters(job, made)
    added = Added(lambda batches: _tallied(batches, kept), measure="score")
    vectors, count = write_vectors(client, job, source, prepared.settings, talk, added)
    told["features_ha"] = {c.name: kept.get(c.value, 0.0) for c in source.classes}
    others = [write(made) for write in prepared.question.further.values()]
    for date in range(len(prepared.fits)):
        _tell_hidden(_about_date(source, prepared, date), prepared, talk.reporter)
    return [*rasters, *vectors, *others], count


def _write_rasters(job: Job, made: Made) -> list[Path]:
    source, tags = made.source, dict(made.source.tags)
    styles = {"mask": ("mask", CogStyle(classes=source.classes, tags=tags))}
    if made.prepared.settings.score:
        styles = {"confidence": ("score", CogStyle(bands=("score in %",), tags=tags)), **styles}
    paths = []
    for layer, (name, style) in styles.items():
        path = job.out / f"{name}.tif"
        # Whether it may be replaced was settled when the job began.
        pieces = pieces_of(source, job.store, layer)
        write_cog(path, source.grid, pieces, style, overwrite=True)
        paths.append(path)
    return paths


def _tallied(batches: Iterator[Features], kept: dict[int, float]) -> Iterator[Features]:
    """The features as they are; ``kept`` gets the hectares of each class."""
    kept.clear()
    for batch in batches:
        for value in set(batch.class_id.tolist()):
            area = batch.area_ha[batch.class_id == value].sum()
            kept[value] = kept.get(value, 0.0) + float(area)
        yield batch


def _about(source: MapSource, prepared: PreparedChange, told: Mapping[str, Any]) -> dict[str, Any]:
    settings = prepared.settings
    return {
        "dates": [_about_date(source, prepared, date) for date in range(len(prepared.fits))],
        "target": _target(prepared),
        "threshold": settings.threshold,
        "score": "probability of the first state times that of the second: that of the change "
        "only if the errors of the dates were independent, which they are not",
        "shifts": [shift.describe() for shift in prepared.shifts],
        "min_area": settings.min_area,
        **told,
    }


def _target(prepared: PreparedChange) -> list[str]:
    return [prepared.model.card.classes[k].name for k in prepared.target]


def _about_date(source: MapSource, prepared: PreparedChange, date: int) -> dict[str, Any]:
    """One date, and what its mask hid: of that, what the model would have called its class."""
    scene = prepared.fits[date].scene
    hidden, of_target = (
        total(source, "area_m2", hidden_key(date, target)) / HECTARE for target in (False, True)
    )
    return {
        "scene": scene.name,
        "date": scene.date,
        "level": scene.level,
        "hidden_ha": hidden,
        "hidden_target_ha": of_target,
    }


def _tell_hidden(date: Mapping[str, Any], prepared: PreparedChange, reporter: Reporter) -> None:
    if date["hidden_ha"]:
        reporter.note(
            f"{date['scene']}: a mask hid {date['hidden_ha']:,.1f} ha, of which the model would "
            f"call {date['hidden_target_ha']:,.1f} ha {' or '.join(_target(prepared))}"
        )
