"""From a map to a sample to interpret: who is drawn from, how many, and which pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geounet.assess.accuracy_file import hidden_hectares
from geounet.assess.allocation import Prospect, allocate, expected_error, sample_size
from geounet.assess.census import Census, count, population_of
from geounet.assess.class_map import ClassMap, class_names, open_class_map
from geounet.assess.design_file import (
    PointRecord,
    SampleDesign,
    StratumRecord,
    design_path,
    record_of,
    write_design,
)
from geounet.assess.draw import Drawn, draw_ranks, find_pixels, shuffled
from geounet.assess.sample_file import write_points
from geounet.assess.settings import DesignSettings
from geounet.errors import OutputError, SettingsError
from geounet.placing import check_free
from geounet.reporting import Reporter, Silence

WHOLE = "the whole map"


@dataclass(frozen=True)
class _Frame:
    """What is drawn from: the map, the raster of strata, its census, and the classes' names."""

    map: ClassMap
    source: ClassMap
    census: Census
    names: tuple[str, ...]
    classes: tuple[str, ...]


def design_sample(
    map: str | Path,
    out: str | Path,
    settings: DesignSettings,
    reporter: Reporter | None = None,
) -> SampleDesign:
    """Draw a probability sample of a map's pixels and write it for interpretation.

    The same map, settings and versions give the same files.

    Args:
        map: a class raster; its pixels without a class are outside the population.
        out: the GeoPackage of points; the design lies beside it, as ``NAME.design.json``.
        settings: method, size, allocation.
        reporter: hears what is done.

    Raises:
        InputError: if a raster cannot be read, or holds no classes.
        SettingsError: if the size does not fit the strata, or a class that is expected is none.
        OutputError: if a file exists or cannot be written.
    """
    reporter, out = reporter or Silence(), Path(out)
    if settings.size is None and settings.target_se is None:
        raise SettingsError("say how many points to draw: --size 640, or --target-se 0.01")
    if out.suffix.lower() != ".gpkg":
        raise OutputError(f"{out}: points are written as a GeoPackage; end its name in .gpkg")
    for path in (out, design_path(out)):
        check_free(path, overwrite=settings.overwrite)
    frame = _frame(open_class_map(map), settings, reporter)
    prospects = _prospects(frame, settings)
    points = _points(prospects, settings)
    drawn = _draw(frame, prospects, points, settings, reporter)
    design = _record(frame, prospects, points, drawn, settings)
    write_points(out, frame.map.grid, drawn.rows, drawn.cols, frame.classes)
    write_design(design_path(out), design)
    return design


def _frame(source: ClassMap, settings: DesignSettings, reporter: Reporter) -> _Frame:
    strata = open_class_map(settings.strata) if settings.strata else None
    census = count(population_of(*filter(None, (source, strata))), reporter)
    names = class_names([strata or source], census.values)
    classes = names
    if strata:
        classes = class_names([source], count(population_of(source), reporter).values)
    # A class that the map knows but has nowhere may still be what an interpreter finds.
    known = [name for name in source.names.values() if name and name not in classes]
    return _Frame(source, strata or source, census, names, (*classes, *known))


def _prospects(frame: _Frame, settings: DesignSettings) -> list[Prospect]:
    """The strata; a simple random sample has one, as accurate as its classes are on average."""
    census, expected = frame.census, settings.accuracies
    unknown = [name for name in expected if name and name not in frame.names]
    if unknown:
        raise SettingsError(
            f"--expect {unknown[0]}: there is no such class; choose from {', '.join(frame.names)}"
        )
    strata = [
        Prospect(name, pixels, area / census.total, expected.get(name, expected[""]))
        for name, pixels, area in zip(frame.names, census.pixels, census.areas, strict=True)
    ]
    if settings.method == "stratified":
        return strata
    accuracy = sum(p.weight * p.accuracy for p in strata)
    return [Prospect(WHOLE, sum(census.pixels), 1.0, accuracy)]


def _points(prospects: Sequence[Prospect], settings: DesignSettings) -> np.ndarray:
    least = settings.at_least if settings.method == "stratified" else 2
    if settings.size is not None:
        return allocate(prospects, settings.size, settings.allocation, least)
    size = sample_size(prospects, settings.target_se or 0.01)
    size = max(size, sum(min(least, p.pixels) for p in prospects))
    return allocate(prospects, size, settings.allocation, least)


def _draw(
    frame: _Frame,
    prospects: Sequence[Prospect],
    points: np.ndarray,
    settings: DesignSettings,
    reporter: Reporter,
) -> Drawn:
    maps = (frame.map,) if frame.source is frame.map else (frame.map, frame.source)
    stratified = settings.method == "stratified"
    values: Sequence[int | None] = frame.census.values if stratified else (None,)
    ranks = draw_ranks([p.pixels for p in prospects], points.tolist(), settings.seed)
    return shuffled(find_pixels(population_of(*maps), values, ranks, reporter), settings.seed)


def _record(
    frame: _Frame,
    prospects: Sequence[Prospect],
    points: np.ndarray,
    drawn: Drawn,
    settings: DesignSettings,
) -> SampleDesign:
    census, stratified = frame.census, settings.method == "stratified"
    values: Sequence[int | None] = census.values if stratified else (None,)
    areas = census.areas if stratified else (census.total,)
    places = zip(drawn.rows.tolist(), drawn.cols.tolist(), drawn.stratum.tolist(), strict=True)
    return SampleDesign(
        method=settings.method,
        allocation=settings.allocation if stratified else None,
        seed=settings.seed,
        target_se=settings.target_se,
        expected_se=expected_error(prospects, points),
        map=Path(frame.map.raster.shown).name,
        source=record_of(frame.source, census.digest),
        strata=tuple(
            StratumRecord(name=p.name, value=v, pixels=p.pixels, area_m2=area, points=n)
            for p, v, area, n in zip(prospects, values, areas, points.tolist(), strict=True)
        ),
        outside_pixels=census.outside_pixels,
        outside_m2=census.outside_area,
        hidden_ha=hidden_hectares(frame.map),
        points=tuple(
            PointRecord(id=i, row=row, col=col, stratum=stratum)
            for i, (row, col, stratum) in enumerate(places, 1)
        ),
    )
