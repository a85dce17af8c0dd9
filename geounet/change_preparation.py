"""What is known of a change before a pixel is read: scenes of several dates on the first's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import shapely

from geounet.ancillary import Ancillary, open_ancillary
from geounet.aoi import read_aoi
from geounet.area import PixelArea
from geounet.card import LandClass
from geounet.change_rules import ChangeRule
from geounet.change_settings import ChangeSettings
from geounet.errors import InputError, SettingsError
from geounet.fit import MARGIN, Fit, fit
from geounet.grid import Grid
from geounet.model_file import Model, load_model
from geounet.planning import LARGEST_CACHE, JobPlan, cache_of, make_plan
from geounet.preparation import as_before, identity_of, refuse_targets, scenes_identity
from geounet.resample import overlap
from geounet.scene import Scene, open_scene
from geounet.scene_shift import SceneShift
from geounet.vectorization import chosen_values, zones_of
from geounet.zones import Zones

MOST_DATES = 100


@dataclass(frozen=True)
class Question:
    """What a job asks of the dates.

    Attributes:
        title: of its report.
        classes: of the map that answers it.
        rule: which value each kind of change gets.
        marks: a raster that the rule's ``marked`` looks at, if there is one.
        in_order: True if a later scene must not be older.
        further: writes more files of the finished map, each by its name.
    """

    title: str
    classes: tuple[LandClass, ...]
    rule: ChangeRule
    marks: str | None = None
    in_order: bool = False
    further: Mapping[str, Callable[..., Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedChange:
    """Everything known before a tile is read; ``fits`` has one entry a date, on one grid.

    ``shifts`` are those of all dates but the first, once pixels were looked at.
    """

    fits: tuple[Fit, ...]
    model: Model
    question: Question
    ancillary: Ancillary | None
    area: shapely.Geometry | None
    zones: Zones | None
    plan: JobPlan
    settings: ChangeSettings
    shifts: tuple[SceneShift, ...] = ()

    @property
    def grid(self) -> Grid:
        return self.fits[0].scene.grid

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before the job begins, each once."""
        own = (note for fitted in self.fits for note in fitted.notes)
        moved = (note for shift in self.shifts for note in shift.notes())
        marks = self.ancillary.notes(self.grid) if self.ancillary else ()
        dates = _date_notes(self.fits)
        return tuple(dict.fromkeys([*own, *dates, *marks, *moved, *self.plan.notes]))

    @property
    def target(self) -> tuple[int, ...]:
        """Which of the network's classes count, by their place in its card."""
        classes = self.model.card.classes
        values = chosen_values(self.settings.target, classes)
        return tuple(k for k, c in enumerate(classes) if values and c.value in values)


def prepare_change(
    sources: Sequence[str | Path], model: str | Path, question: Question, settings: ChangeSettings
) -> PreparedChange:
    """Open, check and plan, from headers alone.

    Raises:
        GeounetError: the scenes, the model, the settings or the outputs do not go together.
    """
    loaded = load_model(model)
    _check_target(settings, loaded, model)
    chosen_values(settings.classes, question.classes)
    fits = _fits(sources, loaded, settings)
    if question.in_order:
        _refuse_disorder([f.scene for f in fits])
    grid = fits[0].scene.grid
    refuse_targets(settings, grid)
    prepared = PreparedChange(
        fits=fits,
        model=loaded,
        question=question,
        ancillary=open_ancillary(question.marks, grid) if question.marks else None,
        area=read_aoi(settings.aoi, grid) if settings.aoi else None,
        zones=zones_of(settings, grid),
        plan=make_plan(fits[0].scene, loaded.card, settings, None),
        settings=settings,
    )
    return replace(prepared, plan=_plan(prepared))


def dates_of(sources: Sequence[str | Path], settings: ChangeSettings) -> tuple[str | None, ...]:
    """The date of each scene, where its file or its name says it.

    Raises:
        InputError: if a scene cannot be opened.
    """
    many = len(sources)
    return tuple(open_scene(s, settings.of_date(k, many)).date for k, s in enumerate(sources))


def with_window_of_change(prepared: PreparedChange, earlier: Mapping[str, Any]) -> PreparedChange:
    """Planned with the window of an earlier run, if there was one."""
    settings = as_before(prepared.settings, earlier)
    return replace(prepared, plan=_plan(replace(prepared, settings=settings)))


def change_fingerprint(prepared: PreparedChange) -> dict[str, Any]:
    """All that the bytes of the outputs depend on; a resume refuses any change of it."""
    s, question, marks = prepared.settings, prepared.question, prepared.ancillary
    return {
        "dates": scenes_identity(prepared.fits),
        "target": list(prepared.target),
        "rule": [list(vars(question.rule).items()), [c.model_dump() for c in question.classes]],
        "marks": marks.fingerprint() if marks else {},
        "score": s.score,
        **identity_of(s, prepared.model, prepared.plan, prepared.area, prepared.zones),
    }


def _plan(prepared: PreparedChange) -> JobPlan:
    s, scenes = prepared.settings, [f.scene for f in prepared.fits]
    plan = make_plan(scenes[0], prepared.model.card, s, prepared.area, 2, prepared.plan.machine)
    cache = sum(cache_of(scene, plan.plan) for scene in scenes)
    return replace(plan, cache=min(cache, LARGEST_CACHE))


def _check_target(settings: ChangeSettings, model: Model, name: str | Path) -> None:
    classes = model.card.classes
    try:
        values = chosen_values(settings.target, classes)
    except SettingsError as error:
        raise SettingsError(
            f"--target: the model {name}: {error}, or use another --model"
        ) from None
    if values is None or len(set(values)) == len(classes):
        raise SettingsError(
            "--target names every class of the model; leave out what does not count"
        )


def _fits(sources: Sequence[str | Path], model: Model, settings: ChangeSettings) -> tuple[Fit, ...]:
    if not 2 <= len(sources) <= MOST_DATES:
        raise SettingsError(
            f"{len(sources)} scenes were given; a change needs 2 to {MOST_DATES}, the oldest first"
        )
    scenes = [open_scene(s, settings.of_date(k, len(sources))) for k, s in enumerate(sources)]
    fits: list[Fit] = []
    for scene in scenes:
        if not overlap(scene.grid, scenes[0].grid):
            raise InputError(
                f"{scene.name}: does not overlap {scenes[0].name}; give scenes of the same place"
            )
        note = _size_notes(scene, scenes[0])
        fitted = fit(replace(scene, grid=scenes[0].grid), model.card, settings.strict)
        fits.append(replace(fitted, notes=(*fitted.notes, *note)))
    _refuse_shared([f.scene for f in fits])
    return tuple(fits)


def _size_notes(scene: Scene, first: Scene) -> tuple[str, ...]:
    """A doubt where one date is much coarser, and so blurs what the other shows."""
    ratio = _metres(scene.grid) / _metres(first.grid)
    if 1 / MARGIN < ratio < MARGIN:
        return ()
    return (
        f"{scene.name}: its pixels are {ratio:.3g} times those of {first.name}: along every border "
        "change will be seen that is none; bring both to the coarser size with --resolution",
    )


def _metres(grid: Grid) -> float:
    return sqrt(PixelArea(grid).typical)


def _refuse_shared(scenes: Sequence[Scene]) -> None:
    """Two dates that read one band of one file would show no change, whatever happened."""
    taken: dict[tuple[str, int], str] = {}
    for date, scene in enumerate(scenes):
        for band in scene.bands:
            place = (band.file, band.index)
            if place in taken:
                raise InputError(
                    f"{band.raster.shown}: band {band.index} is read for two dates, as {band.name} "
                    f"of scene {date + 1} and of {taken[place]}; give each date its own file"
                )
        taken |= {(band.file, band.index): f"scene {date + 1}" for band in scene.bands}


def _refuse_disorder(scenes: Sequence[Scene]) -> None:
    for old, new in pairwise(scenes):
        if old.date and new.date and new.date < old.date:
            raise InputError(
                f"{new.name}: is of {new.date}, before {old.name} of {old.date}; "
                "give the scenes by date, the oldest first"
            )


def _date_notes(fits: Sequence[Fit]) -> tuple[str, ...]:
    first, last = fits[0].scene, fits[-1].scene
    notes = []
    if first.date and last.date and last.date < first.date:
        notes.append(
            f"{last.name} is of {last.date}, before {first.name} of {first.date}: what is called "
            "newly flooded is then what fell dry"
        )
    if len({f.scene.level for f in fits}) > 1:
        levels = ", ".join(f"{f.scene.name} {f.scene.level or 'unknown'}" for f in fits)
        notes.append(f"the scenes are not of one processing level ({levels}): expect false change")
    return tuple(notes)
