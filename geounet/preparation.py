"""What is known of a job before a pixel is read: scene, model, area, plan, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shapely

from geounet import cog, vector_formats
from geounet.aoi import read_aoi
from geounet.fit import Fit, fit
from geounet.forward import Forward
from geounet.model_file import Model, load_model
from geounet.planning import JobPlan, device_name, make_plan
from geounet.scene import open_scene
from geounet.settings import ComputeSettings, SegmentSettings
from geounet.vectorization import chosen_values
from geounet.versions import versions


@dataclass(frozen=True)
class Prepared:
    """Everything known before a pixel is read."""

    fit: Fit
    model: Model
    area: shapely.Geometry | None
    plan: JobPlan
    settings: SegmentSettings

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before the job begins."""
        return (*self.fit.notes, *self.plan.notes)

    @property
    def layers(self) -> tuple[str, ...]:
        s = self.settings
        # Polygons carry the mean confidence of their pixels.
        confidence = s.confidence or bool(s.vector_formats)
        wanted = {"confidence": confidence, "probabilities": s.probabilities}
        return ("mask", *(name for name, asked in wanted.items() if asked))


def prepare(scene: str | Path, model: str | Path, settings: SegmentSettings) -> Prepared:
    """Open, check and plan, from headers alone; this is what ``--dry-run`` runs.

    Raises:
        GeounetError: scene, model, settings or outputs do not go together.
    """
    loaded = load_model(model)
    opened = open_scene(scene, settings)
    fitted = fit(opened, loaded.card, settings.strict)
    # What could not be written at the end is refused now, before hours of work.
    chosen_values(settings.classes, loaded.card.classes)
    cog.check_target(Path("mask.tif"), fitted.scene.grid, overwrite=True)
    for name in settings.vector_formats:
        vector_formats.check_target(Path(f"features.{name}"), fitted.scene.grid, overwrite=True)
    area = read_aoi(settings.aoi, fitted.scene.grid) if settings.aoi else None
    plan = _plan(fitted, loaded, settings, area)
    return Prepared(fitted, loaded, area, plan, settings)


def forward_of(model: Model, fitted: Fit, settings: ComputeSettings) -> Forward:
    """What a worker needs to run this model on this scene's numbers."""
    return Forward(
        model=str(model.path.resolve()),
        sha256=model.card.sha256,
        scale=fitted.scale,
        offset=fitted.offset,
        precision=settings.precision,
        tta=settings.tta,
    )


def fingerprint(prepared: Prepared) -> dict[str, Any]:
    """All that the bytes of the outputs depend on; a resume refuses any change of it."""
    s, plan = prepared.settings, prepared.plan.plan
    area = shapely.to_wkb(prepared.area) if prepared.area is not None else b""
    return {
        "scene": prepared.fit.scene.fingerprint(),
        "scale": list(prepared.fit.scale),
        "offset": list(prepared.fit.offset),
        "model": prepared.model.card.sha256,
        "window": plan.window,
        "halo": plan.halo,
        "precision": s.precision,
        "tta": s.tta,
        "device": device_name(),
        "layers": list(prepared.layers),
        "aoi": hashlib.sha256(area).hexdigest() if area else "",
        "polygons": [*s.vector_formats, s.min_area, s.simplify, *s.classes],
        "versions": versions(),
    }


def with_window_of(prepared: Prepared, earlier: Mapping[str, Any]) -> Prepared:
    """Without ``--window`` it was chosen from the memory of that day: keep it."""
    if prepared.settings.window is not None or "window" not in earlier:
        return prepared
    settings = prepared.settings.model_copy(update={"window": earlier["window"]})
    plan = _plan(prepared.fit, prepared.model, settings, prepared.area)
    return replace(prepared, plan=plan)


def _plan(
    fitted: Fit, model: Model, settings: SegmentSettings, area: shapely.Geometry | None
) -> JobPlan:
    layers = 1 + settings.confidence + len(model.card.classes) * settings.probabilities
    return make_plan(fitted.scene, model.card, settings, area, layers)
