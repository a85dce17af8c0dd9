"""Many scenes to one map on a common grid, with one class a pixel where they overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import shapely

from geounet.aoi import read_aoi
from geounet.errors import SettingsError
from geounet.fit import Fit, fit, stretched
from geounet.grid import Grid, Window, intersect
from geounet.machine import Machine
from geounet.map_job import Recipe, make_map
from geounet.model_file import Model, load_model
from geounet.mosaic_grid import around
from geounet.mosaic_labelling import MosaicWork, mosaic_tiles
from geounet.outputs import Results, output_names, write_rasters_and_vectors
from geounet.planning import LARGEST_CACHE, JobPlan, cache_of, make_plan
from geounet.preparation import as_before, forward_of, identity_of, refuse_targets, scenes_identity
from geounet.reporting import Reporter, Silence
from geounet.scene import open_scene
from geounet.settings import LandcoverSettings
from geounet.vectorization import chosen_values, zones_of
from geounet.zones import Zones

MOST_SCENES = 1000


@dataclass(frozen=True)
class PreparedMosaic:
    """Everything known before a tile is read; the scenes of ``fits`` share one grid."""

    fits: tuple[Fit, ...]
    extents: tuple[Window, ...]
    model: Model
    area: shapely.Geometry | None
    zones: Zones | None
    plan: JobPlan
    settings: LandcoverSettings

    @property
    def grid(self) -> Grid:
        return self.fits[0].scene.grid

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, each once."""
        own = (note for fitted in self.fits for note in fitted.notes)
        return tuple(dict.fromkeys([*own, *self.plan.notes]))


def mosaic(
    scenes: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    settings: LandcoverSettings | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Map many scenes into the folder ``out`` as one: mask, polygons, report.

    Args:
        scenes: rasters, product folders or scene.yaml files; the map has the CRS and the pixels of
            the first, and is as large as all of them.
        model: the name of a shipped model, or a ``.safetensors`` file.
        out: a new folder, unless ``overwrite`` or ``resume`` is set.
        settings: how to read, map and write.
        reporter: is told of notes and progress.

    Raises:
        GeounetError: the scenes, the model, the settings or the output will not do; what was
            committed so far is kept, and ``resume`` goes on from there.
    """
    settings = settings or LandcoverSettings()
    prepared = prepare_mosaic(scenes, model, settings)

    def after(earlier: Mapping[str, Any]) -> Recipe:
        return _recipe(_with_stretch(_with_window(prepared, earlier)))

    return make_map(Path(out), output_names(settings), settings, after, reporter or Silence())


def prepare_mosaic(
    sources: Sequence[str | Path], model: str | Path, settings: LandcoverSettings
) -> PreparedMosaic:
    """Open, check and plan, from headers alone.

    Raises:
        GeounetError: the scenes, the model, the settings or the outputs do not go together.
    """
    if not 1 <= len(sources) <= MOST_SCENES:
        raise SettingsError(f"{len(sources)} scenes were given; a mosaic takes 1 to {MOST_SCENES}")
    loaded = load_model(model)
    chosen_values(settings.classes, loaded.card.classes)
    scenes = [open_scene(source, settings) for source in sources]
    # Doubts about pixels are those of the scene's own, before it is laid on the common grid.
    fits = [fit(scene, loaded.card, settings.strict) for scene in scenes]
    grid, extents = around([s.grid for s in scenes], [s.name for s in scenes])
    refuse_targets(settings, grid)
    placed = tuple(replace(f, scene=replace(f.scene, grid=grid)) for f in fits)
    area = read_aoi(settings.aoi, grid) if settings.aoi else None
    plan = _plan(placed, extents, loaded, settings, area)
    zones = zones_of(settings, grid)
    return PreparedMosaic(placed, extents, loaded, area, zones, plan, settings)


def _plan(
    fits: Sequence[Fit],
    extents: Sequence[Window],
    model: Model,
    settings: LandcoverSettings,
    area: shapely.Geometry | None,
    machine: Machine | None = None,
) -> JobPlan:
    """The tiles that some scene touches: far scenes leave much ground between them."""
    plan = make_plan(fits[0].scene, model.card, settings, area, 1 + settings.confidence, machine)
    views = [sum(intersect(t.core, e) is not None for e in extents) for t in plan.tiles]
    tiles = tuple(tile for tile, count in zip(plan.tiles, views, strict=True) if count)
    cache = max(cache_of(fitted.scene, plan.plan) for fitted in fits)
    return replace(
        plan,
        tiles=tiles,
        computed_share=plan.computed_share * sum(views) / max(len(views), 1),
        cache=min(2 * cache, LARGEST_CACHE),
    )


def _with_window(prepared: PreparedMosaic, earlier: Mapping[str, Any]) -> PreparedMosaic:
    """Planned with the window of an earlier run, if there was one."""
    settings = as_before(prepared.settings, earlier)
    p = prepared
    plan = _plan(p.fits, p.extents, p.model, settings, p.area, p.plan.machine)
    return replace(p, plan=plan)


def _with_stretch(prepared: PreparedMosaic) -> PreparedMosaic:
    """With each scene's own percentiles, if the model asks for them."""
    card = prepared.model.card
    return replace(prepared, fits=tuple(stretched(fitted, card) for fitted in prepared.fits))


def _recipe(prepared: PreparedMosaic) -> Recipe:
    scenes, card, settings = (
        [f.scene for f in prepared.fits],
        prepared.model.card,
        prepared.settings,
    )
    about = {
        "scenes": [{"name": s.name, "date": s.date, "level": s.level} for s in scenes],
        "overlap": settings.overlap,
    }
    return Recipe(
        title="Land cover",
        doing="mapping",
        measure="confidence",
        dates=[scenes],
        classes=card.classes,
        card=card,
        plan=prepared.plan,
        identity=_fingerprint(prepared),
        notes=prepared.notes,
        task=lambda store: partial(mosaic_tiles, _work(store, prepared)),
        write=partial(write_rasters_and_vectors, settings=settings),
        about=lambda _: about,
        forward=_work("", prepared).forwards[0],
    )


def _fingerprint(prepared: PreparedMosaic) -> dict[str, Any]:
    """All that the bytes of the outputs depend on; a resume refuses any change of it."""
    settings = prepared.settings
    return {
        "scenes": scenes_identity(prepared.fits),
        "overlap": settings.overlap,
        "confidence": settings.confidence,
        **identity_of(settings, prepared.model, prepared.plan, prepared.area, prepared.zones),
    }


def _work(store: str, prepared: PreparedMosaic) -> MosaicWork:
    settings, fits = prepared.settings, prepared.fits
    return MosaicWork(
        scenes=tuple(f.scene for f in fits),
        extents=prepared.extents,
        forwards=tuple(forward_of(prepared.model, f, settings) for f in fits),
        overlap=settings.overlap,
        store=store,
        cache=prepared.plan.cache,
        aoi=shapely.to_wkb(prepared.area) if prepared.area is not None else None,
    )
