"""Small regions join neighbours as the rule says: against the rule told in plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from geounet.polygonize import PolygonOptions, polygonize
from geounet.vector_settings import Amount
from tests.test_polygonize import all_of, grid_of, masks


def regions_of(mask: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Region numbers by first pixel, -1 for no data; and the size of each."""
    of, found = np.full(mask.shape, -1), []
    for value in np.unique(mask[mask != 255]):
        numbers, n = ndimage.label(mask == value)
        found += [numbers == k for k in range(1, n + 1)]
    found.sort(key=lambda region: np.flatnonzero(region)[0])
    for number, region in enumerate(found):
        of[region] = number
    return of, [int(region.sum()) for region in found]


def borders_of(of: np.ndarray) -> tuple[dict, set]:
    """Edges between each region and its neighbours; and the regions beside no data or outside."""
    framed = np.pad(of, 1, constant_values=-1)
    borders: dict = defaultdict(lambda: defaultdict(int))
    void = set()
    for a, b in ((framed[:-1], framed[1:]), (framed[:, :-1], framed[:, 1:])):
        for one, other in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            if one == other:
                continue
            if -1 in (one, other):
                void.add(max(one, other))
            else:
                borders[one][other] += 1
                borders[other][one] += 1
    return borders, void


def clusters_of(members: set, borders: dict) -> list[set]:
    left, found = set(members), []
    while left:
        todo, cluster = [left.pop()], set()
        while todo:
            region = todo.pop()
            cluster.add(region)
            near = set(borders[region]) & left
            left -= near
            todo += near
        found.append(cluster)
    return found


def holes(borders: dict, void: set, size: list, fill: int, target: dict) -> set:
    """Set the targets of enclosed clusters; returns their regions."""
    filled = set()
    for cluster in clusters_of({r for r in target if size[r] < fill}, borders):
        around = {n for r in cluster for n in borders[r]} - cluster
        if sum(size[r] for r in cluster) < fill and not cluster & void and len(around) == 1:
            filled |= cluster
            target.update(dict.fromkeys(cluster, around.pop()))
    return filled


def cleaned(mask: np.ndarray, absorb: int, fill: int) -> np.ndarray:
    """The mask after the rule of ``polygons/clean.py``."""
    of, size = regions_of(mask)
    borders, void = borders_of(of)
    target = {region: region for region in range(len(size))}

    def best(lengths: dict) -> int:
        return min(lengths, key=lambda host: (-lengths[host], -size[host], host))

    filled = holes(borders, void, size, fill, target)
    small = {r for r in target if size[r] < absorb} - filled
    hosts = set(target) - small - filled
    direct = {}
    for region in small:
        lengths = {n: length for n, length in borders[region].items() if n in hosts}
        if lengths:
            direct[region] = best(lengths)
    for cluster in clusters_of(small - set(direct), borders):
        lengths = defaultdict(int)
        for region in cluster:
            for near, length in borders[region].items():
                if near in direct:
                    lengths[direct[near]] += length
        if lengths:
            target.update(dict.fromkeys(cluster, best(lengths)))
    target.update(direct)
    label = [int(mask.flat[np.flatnonzero(of == r)[0]]) for r in target]
    new = mask.copy()
    for region in target:
        new[of == region] = label[target[target[region]]]
    return new


@given(
    mask=masks(most=24),
    side=st.sampled_from([5, 11, 64]),
    absorb=st.integers(0, 9),
    fill=st.integers(0, 9),
)
def test_small_regions_join_the_neighbour_that_the_rule_names(mask, side, absorb, fill):
    grid = grid_of("north-up", mask.shape)
    options = PolygonOptions(
        min_area=Amount(absorb, in_pixels=True),
        absorb=True,
        fill_holes=Amount(fill, in_pixels=True),
    )
    found = all_of(polygonize(mask, grid, options, side=side))
    expected = cleaned(mask, absorb, fill)
    plain = all_of(polygonize(expected, grid))
    assert found.n_px.tolist() == plain.n_px.tolist()
    assert found.class_id.tolist() == plain.class_id.tolist()
    if len(found):
        pairs = zip(found.polygon, found.class_id.tolist(), strict=True)
        again = rasterize(pairs, mask.shape, fill=255, transform=grid.transform, dtype="uint8")
        assert np.array_equal(again, expected)


@pytest.mark.parametrize(("least", "left"), [("0.05ha", [0, 1]), ("0.0399ha", [0, 1, 2])])
def test_sizes_in_hectares_are_measured_on_the_ellipsoid(least, left):
    from geounet.vector_settings import area_amount

    mask = np.zeros((12, 12), np.uint8)
    mask[6:] = 1
    mask[2:4, 2:4] = 2
    options = PolygonOptions(min_area=area_amount(least), absorb=True)
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape), options))
    assert sorted(set(found.class_id.tolist())) == left
    assert found.n_px.sum() == mask.size


def test_classes_are_chosen_after_small_regions_have_joined():
    mask = np.zeros((10, 10), np.uint8)
    mask[4:6, 4:6] = 1
    options = PolygonOptions(min_area=Amount(5, in_pixels=True), absorb=True, classes=(0,))
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape), options))
    assert found.n_px.tolist() == [100]
