"""From interpreted points to accuracy and area: which estimator holds, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geounet.area import PixelArea
from geounet.assess.accuracy import HECTARE, Accuracy, content_of
from geounet.assess.accuracy_file import accuracy_path, hidden_hectares, write_accuracy
from geounet.assess.cautions import cautions
from geounet.assess.census import Census, count, population_of
from geounet.assess.class_map import ClassMap, class_names, open_class_map
from geounet.assess.classes import Legend
from geounet.assess.design_file import SampleDesign, design_path, read_design, record_of
from geounet.assess.estimators import by_class_afterwards, by_strata
from geounet.assess.matching import Matched, match
from geounet.assess.sample import Sample, Stratum
from geounet.assess.sample_file import read_points
from geounet.assess.settings import EstimateSettings
from geounet.errors import InputError
from geounet.placing import check_free
from geounet.reporting import Reporter, Silence


@dataclass(frozen=True)
class _Judged:
    """The map that is judged, counted, and the design, if its sample is one of chance."""

    map: ClassMap
    census: Census
    legend: Legend
    design: SampleDesign | None

    @property
    def is_source(self) -> bool:
        """Whether the sample was drawn from this very map, without strata of another raster."""
        return self.design is not None and self.design.source.digest == self.census.digest

    @property
    def outside(self) -> tuple[int, float]:
        """Pixels and square metres that the estimates do not speak for."""
        if self.design is None or self.is_source:
            return self.census.outside_pixels, self.census.outside_area
        return self.design.outside_pixels, self.design.outside_m2

    @property
    def hidden_ha(self) -> float | None:
        """Those of them, in hectares, that a cloud mask hid."""
        if self.design is None or self.is_source:
            return hidden_hectares(self.map)
        return self.design.hidden_ha


def estimate_accuracy(
    points: str | Path,
    map: str | Path,
    settings: EstimateSettings | None = None,
    reporter: Reporter | None = None,
) -> Accuracy:
    """Accuracy and error-adjusted areas of a map from interpreted points.

    Args:
        points: the GeoPackage of `design_sample`, with its field ``class`` filled in.
        map: the map that is judged; it need not be the one that the sample was drawn on.
        settings: the design's file, missing points, what is written.
        reporter: hears what is done, and every caution.

    Raises:
        InputError: if a file cannot be read or does not fit the others, if points lack a class, or
            a stratum has too few with one.
        OutputError: if what is to be written exists or cannot be, or the folder is of another map.
    """
    settings, reporter, points = settings or EstimateSettings(), reporter or Silence(), Path(points)
    out = accuracy_path(settings.out, map) if settings.out else None
    if out:
        check_free(out, overwrite=settings.overwrite)
    source, design = open_class_map(map), _design(points, settings)
    if design:
        _check_grid(source, design)
    matched = match(points, read_points(points, source.grid), design, source.grid)
    missing = _missing(points, matched, settings)
    census = count(population_of(source), reporter)
    judged = _Judged(source, census, _legend(source, census), design if matched.chance else None)
    result = _judge(judged, points, matched, missing)
    for note in result.notes:
        reporter.note(note)
    if out is None:
        return result
    reported = write_accuracy(out, content_of(result), source)
    return replace(result, out=out, reported=reported)


def _design(points: Path, settings: EstimateSettings) -> SampleDesign | None:
    path = settings.design or design_path(points)
    return read_design(path) if settings.design or path.is_file() else None


def _check_grid(source: ClassMap, design: SampleDesign) -> None:
    here, there = record_of(source, design.source.digest), design.source
    if (here.shape, here.transform) != (there.shape, there.transform) or not _same_crs(
        source, design
    ):
        raise InputError(
            f"{source.raster.shown}: does not lie on the grid of {there.file}, which the sample "
            "was drawn on; warp it there first, with `gdalwarp -r near -t_srs … -te … -ts …`"
        )


def _same_crs(source: ClassMap, design: SampleDesign) -> bool:
    return source.grid.crs == type(source.grid.crs).from_wkt(design.source.crs)


def _missing(points: Path, matched: Matched, settings: EstimateSettings) -> list[str]:
    """What is to be said of points without a class; refused unless they are allowed."""
    if not matched.missing:
        return []
    total = matched.missing + len(matched.points.text)
    said = f"{matched.missing} of {total} points ({100 * matched.missing / total:.1f} %) "
    if not settings.allow_missing or not matched.points.text:
        raise InputError(
            f"{points}: {said}have no class, or are gone; fill in the field `class` of all points, "
            "or go on without them with --allow-missing"
        )
    return [
        f"{said}have no class, or are gone: the estimates hold only if those are like the others "
        "of their stratum"
    ]


def _legend(source: ClassMap, census: Census) -> Legend:
    values = (*census.values, *(v for v, n in source.names.items() if n and v not in census.values))
    return Legend(values, class_names([source], values))


@contextmanager
def _naming(points: Path) -> Iterator[None]:
    """Let an error that knows nothing of files name the one with the points."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{points}: {error}") from error


def _judge(judged: _Judged, points: Path, matched: Matched, notes: list[str]) -> Accuracy:
    matched, on_map, more = _on_map(judged, matched)
    with _naming(points):
        truth = judged.legend.indices(matched.points.text)
    mapped = np.array([judged.legend.values.index(v) for v in on_map.tolist()], np.int64)
    present = len(judged.census.values)
    used = [*range(present), *sorted(set(truth[truth >= present].tolist()))]
    truth = np.searchsorted(used, truth)
    sample = _sample(judged, judged.legend.kept(used), matched, mapped, truth)
    afterwards = judged.design is None or (judged.is_source and judged.design.method == "simple")
    with _naming(points):
        if afterwards:
            found, sample, merging = by_class_afterwards(sample)
            more += merging
        else:
            found = by_strata(sample, judged.is_source)
            more += _other_ground(judged, found.total)
    values = judged.legend.kept(used).values
    areas = dict(zip(judged.census.values, judged.census.areas, strict=True))
    return Accuracy(
        assessment=found,
        values=values,
        mapped=tuple(areas.get(v, 0.0) for v in values),
        outside=judged.outside,
        hidden_ha=judged.hidden_ha,
        missing=matched.missing,
        chance=matched.chance,
        how=_how(judged),
        notes=(*matched.notes, *notes, *more, *cautions(sample, found)),
    )


def _on_map(judged: _Judged, matched: Matched) -> tuple[Matched, np.ndarray, list[str]]:
    """The map's values at the points; those where it has none are left out, or refused."""
    values, valid = judged.map.at(matched.points.rows, matched.points.cols)
    valid &= np.isin(values, judged.census.values)
    if valid.all():
        return matched, values, []
    lost = f"{(~valid).sum()} of {len(valid)} points lie where the map has no class"
    if judged.design or not valid.any():
        raise InputError(
            f"{judged.map.raster.shown}: {lost}; it must cover all that the sample was drawn from: "
            "judge it with a sample of its own"
        )
    kept = matched.where(valid)
    return kept, values[valid], [f"{lost}, and were left out"]


def _sample(
    judged: _Judged, legend: Legend, matched: Matched, mapped: np.ndarray, truth: np.ndarray
) -> Sample:
    """The points as the estimators take them; strata are the map's classes where they can be."""
    census, design = judged.census, judged.design
    if design is None or judged.is_source:
        counted = zip(census.areas, census.pixels, strict=True)
        known = dict(zip(census.values, counted, strict=True))
        strata = [
            Stratum(name, *known.get(value, (0.0, 0)))
            for value, name in zip(legend.values, legend.names, strict=True)
        ]
        stratum = mapped
    else:
        strata = [Stratum(s.name, s.area_m2, s.pixels) for s in design.strata]
        stratum = matched.stratum
    area = PixelArea(judged.map.grid)
    pixels = [
        area.window((slice(r, r + 1), slice(c, c + 1))).item()
        for r, c in zip(matched.points.rows.tolist(), matched.points.cols.tolist(), strict=True)
    ]
    return Sample(tuple(strata), legend.names, stratum, mapped, truth, np.array(pixels))


def _other_ground(judged: _Judged, total: float) -> list[str]:
    mapped = judged.census.total
    if abs(mapped / total - 1) < 1e-6:
        return []
    return [
        f"{judged.map.raster.shown} has a class on {mapped / HECTARE:,.1f} ha, and the sample "
        f"speaks for {total / HECTARE:,.1f} ha: mapped and estimated areas are of different ground"
    ]


def _how(judged: _Judged) -> str:
    design = judged.design
    if design is None:
        return "points of unknown chances, taken as simple random"
    if design.method == "simple":
        return "simple random" + (", post-stratified by map class" if judged.is_source else "")
    by = "map class" if judged.is_source else f"the classes of {design.source.file}"
    return f"stratified by {by}"
