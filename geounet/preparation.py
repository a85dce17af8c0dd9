"""What is known of a job before a pixel is read: scene, model, area, plan, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import shapely

from geounet import cog, vector_formats
from geounet.aoi import read_aoi
from geounet.fit import Fit, fit
from geounet.forward import Forward
from geounet.grid import Grid
from geounet.machine import Machine
from geounet.model_file import Model, load_model
from geounet.planning import JobPlan, make_plan
from geounet.scene import open_scene
from geounet.settings import ComputeSettings, JobSettings, SegmentSettings
from geounet.vector_settings import POLYGONS
from geounet.vectorization import chosen_values, zones_of
from geounet.versions import versions
from geounet.zones import Zones

Settings = TypeVar("Settings", bound=ComputeSettings)


@dataclass(frozen=True)
class Prepared:
    """Everything known before a pixel is read."""

    fit: Fit
    model: Model
    area: shapely.Geometry | None
    zones: Zones | None
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
    chosen_values(settings.classes, loaded.card.classes)
    refuse_targets(settings, fitted.scene.grid)
    area = read_aoi(settings.aoi, fitted.scene.grid) if settings.aoi else None
    plan = _plan(fitted, loaded, settings, area)
    return Prepared(fitted, loaded, area, zones_of(settings, fitted.scene.grid), plan, settings)


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
    return {
        "scene": prepared.fit.scene.fingerprint(),
        "scale": list(prepared.fit.scale),
        "offset": list(prepared.fit.offset),
        "layers": list(prepared.layers),
        **identity_of(
            prepared.settings, prepared.model, prepared.plan, prepared.area, prepared.zones
        ),
    }


def identity_of(
    settings: JobSettings,
    model: Model,
    plan: JobPlan,
    area: shapely.Geometry | None,
    zones: Zones | None,
) -> dict[str, Any]:
    """What the bytes of every kind of map depend on, beside its scenes."""
    outline = shapely.to_wkb(area) if area is not None else b""
    return {
        "model": model.card.sha256,
        "window": plan.plan.window,
        "halo": plan.plan.halo,
        "precision": settings.precision,
        "tta": settings.tta,
        "device": plan.machine.device,
        "aoi": hashlib.sha256(outline).hexdigest() if outline else "",
        "zones": _digest(zones) if zones else "",
        "polygons": settings.model_dump(mode="json", include=POLYGONS),
        "versions": versions(),
    }


def scenes_identity(fits: Sequence[Fit]) -> list[dict[str, Any]]:
    """What the bytes of a map depend on of each of several scenes."""
    return [
        {"scene": f.scene.fingerprint(), "scale": list(f.scale), "offset": list(f.offset)}
        for f in fits
    ]


def _digest(zones: Zones) -> str:
    shapes = b"".join(shapely.to_wkb(zones.pieces).tolist())
    names = "\0".join(zones.names).encode()
    return hashlib.sha256(names + zones.zone_of.tobytes() + shapes).hexdigest()


def refuse_targets(settings: JobSettings, grid: Grid) -> None:
    """What could not be written at the end is refused now, before hours of work.

    Raises:
        GeounetError: naming the format that cannot hold such a map.
    """
    cog.check_target(Path("mask.tif"), grid, overwrite=True)
    for name in settings.vector_formats:
        vector_formats.check_target(Path(f"features.{name}"), grid, overwrite=True)


def with_window_of(prepared: Prepared, earlier: Mapping[str, Any]) -> Prepared:
    """Planned with the window of an earlier run, if there was one."""
    settings = as_before(prepared.settings, earlier)
    p = prepared
    return replace(p, plan=_plan(p.fit, p.model, settings, p.area, p.plan.machine))


def as_before(settings: Settings, earlier: Mapping[str, Any]) -> Settings:
    """Without ``--window`` it was chosen from the memory of that day: keep it."""
    if settings.window is not None or "window" not in earlier:
        return settings
    return settings.model_copy(update={"window": earlier["window"]})


def _plan(
    fitted: Fit,
    model: Model,
    settings: SegmentSettings,
    area: shapely.Geometry | None,
    machine: Machine | None = None,
) -> JobPlan:
    layers = 1 + settings.confidence + len(model.card.classes) * settings.probabilities
    return make_plan(fitted.scene, model.card, settings, area, layers, machine)
