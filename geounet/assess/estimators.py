"""Which estimator holds for a sample, and what becomes of strata with too few points."""

from __future__ import annotations

from geounet.assess.assessment import Assessment
from geounet.assess.olofsson import assess as assess_by_class
from geounet.assess.sample import Sample, merged
from geounet.assess.stehman import assess as assess_by_strata
from geounet.errors import InputError


def by_strata(sample: Sample, of_map: bool) -> Assessment:
    """A stratified sample: Olofsson's if its strata are the map's classes, else Stehman's.

    Raises:
        InputError: if a stratum has fewer than two points, so that no variance can be had.
    """
    if sample.thin:
        index = sample.thin[0]
        raise InputError(
            f"stratum {sample.strata[index].name} has {sample.points[index]} interpreted points, "
            "and a variance needs two in every stratum; interpret more of its points"
        )
    return assess_by_class(sample) if of_map else assess_by_strata(sample)


def by_class_afterwards(sample: Sample) -> tuple[Assessment, Sample, list[str]]:
    """A simple random sample, with the map's classes as post-strata (Olofsson et al. 2014, 5.1).

    Chance may give a rare class fewer than two points. Its post-stratum then joins another, which
    is sound where all pixels had the same chance, and Stehman's estimators take over.

    Raises:
        InputError: if the whole sample has fewer than two points.
    """
    if not sample.thin:
        return assess_by_class(sample), sample, []
    points, group = sample.points.tolist(), list(sample.thin)
    others = [i for i in range(len(points)) if i not in group and sample.strata[i].pixels > 0]
    others.sort(key=lambda i: points[i])
    while others and sum(points[i] for i in group) < 2:
        group.append(others.pop(0))
    if sum(points[i] for i in group) < 2:
        raise InputError(
            f"the sample has {sample.size} interpreted points, and a variance needs two; "
            "interpret more"
        )
    joined = merged(sample, [group, *([i] for i in range(len(sample.strata)) if i not in group)])
    names = ", ".join(sample.strata[i].name for i in group)
    note = f"too few points for strata of their own, so they were taken as one: {names}"
    return assess_by_strata(joined), joined, [note]
