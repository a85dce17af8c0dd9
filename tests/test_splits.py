"""Honest splits: nothing that is held out is learnt from, nor seen from where is learnt."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geounet.errors import InputError, SettingsError
from geounet.learn.ground import Ground, widened
from geounet.learn.labelled import open_labelled
from geounet.learn.leaks import refuse_copies, refuse_overlaps
from geounet.learn.split_settings import SamplingSettings, SplitSettings
from geounet.learn.splits import deal, each_fold, grounds_of
from geounet.unet import radius
from tests.labelled_scenes import CORNER, put_scene, put_table, settings_for


def opened(settings):
    return open_labelled(settings.data, settings.classes)


def split(settings):
    """Grounds by the name of the scene."""
    scenes = opened(settings)
    return dict(zip([s.name for s in scenes], grounds_of(scenes, settings), strict=True))


def held_names(settings):
    return {name for name, ground in split(settings).items() if ground.validation}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Five scenes side by side at three places; a and b lie on one grid."""
    root = tmp_path_factory.mktemp("places")
    for k, (name, shape) in enumerate(
        {"a": (40, 50), "b": (40, 50), "c": (20, 37), "d": (33, 33), "e": (64, 40)}.items()
    ):
        shift = 0 if name == "b" else k
        put_scene(root, name, shape, seed=k, corner=(CORNER[0] + 640 * shift, CORNER[1]))
    put_table(root, {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"})
    return root


windows = st.tuples(st.integers(-3, 30), st.integers(1, 20)).map(lambda s: slice(s[0], sum(s)))
rectangles = st.tuples(windows, windows)


@given(
    shape=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    closed=st.lists(rectangles, max_size=3),
    window=rectangles,
    side=st.integers(1, 12),
)
def test_corners_and_learnable_pixels_are_those_of_every_crop_tried(shape, closed, window, side):
    ground = Ground(shape, (), tuple(closed))
    shut = np.zeros((120, 120), bool)
    origin = 40
    for rows, cols in closed:
        shut[rows.start + origin : rows.stop + origin, cols.start + origin : cols.stop + origin] = 1
    corners, held = np.zeros_like(shut), np.zeros_like(shut)
    for r in range(max(shape[0] - side, 0) + 1):
        for c in range(max(shape[1] - side, 0) + 1):
            at = (slice(r + origin, r + origin + side), slice(c + origin, c + origin + side))
            if not shut[at].any():
                corners[r + origin, c + origin] = True
                held[at] = True
    held[origin + shape[0] :] = held[:, origin + shape[1] :] = False
    here = tuple(slice(s.start + origin, s.stop + origin) for s in window)
    np.testing.assert_array_equal(ground.corners(window, side), corners[here])
    np.testing.assert_array_equal(ground.learnable(window, side), held[here])


def test_a_column_and_names_hold_out_whole_scenes(places):
    table = {"table": "table.csv"}
    by_column = settings_for(places, {"column": "place", "values": ["y"]}, **table)
    assert held_names(by_column) == {"c", "d"}
    by_name = settings_for(places, {"scenes": ["e", "a"]})
    assert held_names(by_name) == {"a", "e"}
    grounds = split(by_name)
    whole = (slice(0, 64), slice(0, 40))
    assert grounds["e"] == Ground((64, 40), (whole,), (whole,))
    assert grounds["c"] == Ground((20, 37))
    assert not held_names(settings_for(places))


@pytest.mark.parametrize(
    ("validation", "table", "cause"),
    [
        ({"column": "city", "values": ["x"]}, "table.csv", "no column city .*it has: id, place"),
        ({"column": "place", "values": ["x"]}, None, "no column place .*no table is given"),
        ({"column": "place", "values": ["q"]}, "table.csv", "place of no scene is q; .* x, y, z"),
        ({"column": "place", "values": ["x", "y", "z"]}, "table.csv", "all of the 5 scenes"),
        ({"scenes": ["a", "f"]}, None, "no scene is called f; there is a, b, c, d, e"),
        ({"folds": 6, "by": "scene"}, None, "folds is 6, but there are only 5 groups"),
        ({"folds": 4, "by": "column", "column": "place"}, "table.csv", r"only 3 groups \(x, y, z"),
        ({"blocks": {"size": 15}}, None, "size 15 is below chip 16"),
        ({"blocks": {"size": 16, "buffer": 8}}, None, "buffer 8 is below .*radius: set it to 9 "),
        ({"blocks": {"size": 60}, "folds": 9, "by": "block"}, None, "folds is 9, but"),
        ({"blocks": {"size": 64, "share": 0.9}}, None, "into only 4 blocks; choose a smaller"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_its_field(places, validation, table, cause):
    with pytest.raises(SettingsError, match=rf"data\.validation.*{cause}"):
        split(settings_for(places, validation, table))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({}, "say one of"),
        ({"column": "place"}, "say one of"),
        ({"values": ["x"]}, "say one of"),
        ({"scenes": ["a"], "blocks": {"size": 64}}, "say one of"),
        ({"scenes": ["a"], "fold": 1}, "fold and by belong to folds"),
        ({"scenes": ["a"], "by": "scene"}, "fold and by belong to folds"),
        ({"folds": 5}, "say by scene, by column or by block"),
        ({"folds": 5, "by": "column"}, "folds by column: give column"),
        ({"folds": 5, "by": "block"}, "folds by block: give blocks"),
        ({"folds": 5, "by": "scene", "column": "place"}, "folds by scene: leave out column"),
        ({"folds": 5, "by": "scene", "scenes": ["a"]}, "leave values and scenes out"),
        ({"folds": 5, "fold": 5, "by": "scene"}, "fold 5 of 5: the last is 4"),
    ],
)
def test_settings_that_say_two_things_or_none_are_refused(fields, cause):
    with pytest.raises(ValidationError, match=cause):
        SplitSettings.model_validate(fields)


def test_years_are_values_of_a_column():
    said = SplitSettings.model_validate({"column": "year", "values": [2019], "scenes": []})
    assert said.values == ("2019",)


def test_sampling_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValidationError, match="batches needs kind random or balanced"):
        SamplingSettings(kind="every", batches=3)
    with pytest.raises(ValidationError, match="power needs kind balanced"):
        SamplingSettings(kind="random", power=0.5)


@pytest.mark.parametrize("buffer", [None, 13])
def test_training_keeps_its_distance_from_validation_blocks(places, buffer):
    blocks = {"size": 16, "share": 0.3, "buffer": buffer}
    settings = settings_for(places, {"blocks": blocks, "seed": 3})
    distance = buffer or radius(settings.architecture)
    held = 0
    for ground in split(settings).values():
        rows, cols = ground.shape
        whole = (slice(0, rows), slice(0, cols))
        assert ground.closed == widened(ground.validation, distance)
        for row, col in np.argwhere(ground.held_out(whole)):
            near = (
                slice(max(row - distance, 0), min(row + distance + 1, rows)),
                slice(max(col - distance, 0), min(col + distance + 1, cols)),
            )
            assert not ground.learnable(near, 16).any()
        held += len(ground.validation)
    total = sum(len(g.validation) for f in range(2) for g in split(
        settings_for(places, {"blocks": {"size": 16}, "folds": 2, "fold": f, "by": "block"})
    ).values())  # fmt: skip
    assert 0 < held < total


def test_scenes_of_one_grid_have_the_same_blocks_held_out(places):
    grounds = split(settings_for(places, {"blocks": {"size": 16, "share": 0.5}}))
    assert grounds["a"] == grounds["b"]
    assert grounds["a"].validation


def test_another_seed_holds_out_other_blocks(places):
    blocks = {"blocks": {"size": 16, "share": 0.3}}
    one, same, other = (split(settings_for(places, blocks | {"seed": s})) for s in (0, 0, 1))
    assert one == same != other


def test_folds_of_blocks_hold_out_every_pixel_once(places):
    validation = {"blocks": {"size": 16}, "folds": 3, "by": "block"}
    settings = settings_for(places, validation)
    seen = {s.name: np.zeros(s.grid.shape, int) for s in opened(settings)}
    for fold in each_fold(settings):
        for name, ground in split(fold).items():
            for window in ground.validation:
                seen[name][window] += 1
    assert all((count == 1).all() for count in seen.values())


@pytest.mark.parametrize("by", ["scene", "column"])
def test_folds_hold_out_every_scene_once_and_keep_groups_whole(places, by):
    column = "place" if by == "column" else None
    validation = {"folds": 3, "by": by, "column": column}
    settings = settings_for(places, validation, "table.csv")
    held = [held_names(fold) for fold in each_fold(settings)]
    assert sorted(name for fold in held for name in fold) == ["a", "b", "c", "d", "e"]
    if by == "column":
        assert sorted(map(sorted, held)) == [["a", "b"], ["c", "d"], ["e"]]


def test_folds_are_asked_for_only_where_there_are_some(places):
    with pytest.raises(SettingsError, match=r"data\.validation: has no folds"):
        each_fold(settings_for(places, {"scenes": ["a"]}))


def test_the_largest_group_comes_first_into_the_smallest_fold():
    sizes = {"a": 3, "b": 9, "c": 3, "d": 5, "e": 4}
    assert deal(sizes, 2) == (("b", "a"), ("d", "e", "c"))


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 99), min_size=3, max_size=20))
def test_folds_partition_the_groups_and_are_balanced(sizes):
    dealt = deal(sizes, 3)
    assert sorted(name for fold in dealt for name in fold) == sorted(sizes)
    totals = [sum(sizes[name] for name in fold) for fold in dealt]
    assert max(totals) - min(totals) <= max(sizes.values())


def leaks(root, validation, table=None):
    settings = settings_for(root, validation, table)
    scenes = opened(settings)
    distance = radius(settings.architecture)
    return refuse_overlaps(scenes, grounds_of(scenes, settings), distance)


def test_two_dates_of_one_place_are_refused_on_opposite_sides(places):
    cause = r"b \(training\) and a \(validation\) overlap: 100 % .* about 2000 pixels"
    with pytest.raises(InputError, match=cause):
        leaks(places, {"scenes": ["a"]})
    # Dates on one side pass.
    assert leaks(places, {"scenes": ["a", "b"]}) == ()
    assert leaks(places, {"column": "place", "values": ["y"]}, "table.csv") == ()
    assert leaks(places, {"blocks": {"size": 16, "share": 0.4}}) == ()


def test_a_column_that_parts_one_grid_is_refused(places, tmp_path):
    for name in ("one", "two"):
        put_scene(tmp_path, name, (20, 30))
    put_table(tmp_path, {"one": "p", "two": "q"})
    with pytest.raises(InputError, match=r"one \(training\) and two \(validation\) overlap: 100 %"):
        leaks(tmp_path, {"column": "place", "values": ["q"]}, "table.csv")


@pytest.mark.parametrize(
    ("shift", "overlaps"), [(300.0, False), (299.9, False), (295.0, True), (380.0, False)]
)
def test_edges_that_touch_are_told_and_half_a_pixel_is_refused(tmp_path, shift, overlaps):
    put_scene(tmp_path, "left", (20, 30))
    put_scene(tmp_path, "right", (20, 30), corner=(CORNER[0] + shift, CORNER[1]))
    if overlaps:
        with pytest.raises(InputError, match=r"overlap: 1\.67 % .* about 10 pixels"):
            leaks(tmp_path, {"scenes": ["right"]})
    else:
        (note,) = leaks(tmp_path, {"scenes": ["right"]})
        assert "within 9 pixels" in note
        assert "(left of right)" in note


def test_scenes_apart_by_the_radius_are_not_told(tmp_path):
    put_scene(tmp_path, "left", (20, 30))
    put_scene(tmp_path, "right", (20, 30), corner=(CORNER[0] + 390, CORNER[1]))
    assert leaks(tmp_path, {"scenes": ["right"]}) == ()


def chessboard(learnt, held):
    """The least distance between two sets of points, in the larger of both axes."""
    return np.abs(learnt[:, None] - held[None]).max(axis=-1).min()


def test_blocks_keep_their_distance_into_touching_scenes(tmp_path):
    put_scene(tmp_path, "left", (53, 60))
    put_scene(tmp_path, "right", (53, 50), corner=(CORNER[0] + 600, CORNER[1]))
    settings = settings_for(tmp_path, {"blocks": {"size": 16, "share": 0.3}, "seed": 1})
    learnt, held = [], []
    for name, ground in split(settings).items():
        whole = (slice(0, ground.shape[0]), slice(0, ground.shape[1]))
        shift = (0, 60 if name == "right" else 0)
        learnt.append(np.argwhere(ground.learnable(whole, 16)) + shift)
        held.append(np.argwhere(ground.held_out(whole)) + shift)
    assert all(map(len, held))
    assert chessboard(np.concatenate(learnt), np.concatenate(held)) > radius(settings.architecture)
    assert leaks(tmp_path, {"blocks": {"size": 16, "share": 0.3}, "seed": 1}) == ()


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_blocks_keep_their_distance_across_crs(tmp_path, crs):
    size = 10 if crs == "EPSG:32632" else 0.0001
    there = pyproj.Transformer.from_crs(32633, crs, always_xy=True).transform(500_200, 5_499_900)
    put_scene(tmp_path, "a", (64, 80), corner=(500_000, 5_500_000))
    put_scene(tmp_path, "b", (80, 64), corner=there, crs=crs, size=size)
    settings = settings_for(tmp_path, {"blocks": {"size": 16, "share": 0.1}, "seed": 2})
    scenes = opened(settings)
    learnt, held = [], []
    for scene, ground in zip(scenes, grounds_of(scenes, settings), strict=True):
        to_a = pyproj.Transformer.from_crs(scene.grid.crs.to_wkt(), 32633, always_xy=True)
        for marks, among in ((ground.learnable, learnt), (ground.held_out, held)):
            where = (
                marks(scene.grid.whole, 16)
                if marks == ground.learnable
                else marks(scene.grid.whole)
            )
            rows, cols = np.nonzero(where)
            xy = to_a.transform(*(scene.grid.transform @ (cols + 0.5, rows + 0.5)))
            among.append(np.stack(xy, axis=-1))
    assert all(map(len, learnt))
    assert all(map(len, held))
    # Of the smaller pixels, 7 m wide in degrees, and the zones are turned by 5°.
    least = radius(settings.architecture) * (6.5 if size < 1 else 9.9)
    assert min(chessboard(ours, theirs) for ours in learnt for theirs in held) > least


@pytest.mark.parametrize(("apart", "overlaps"), [(0.0, True), (300.0, True), (900.0, False)])
def test_overlaps_are_found_across_crs(tmp_path, apart, overlaps):
    # From the middle of zone 33, zone 32 is turned by 5°.
    there = pyproj.Transformer.from_crs(32633, 32632).transform(500_000, 5_500_000)
    put_scene(tmp_path, "a", (50, 60), corner=(500_000, 5_500_000))
    put_scene(tmp_path, "b", (50, 60), corner=(there[0] + apart, there[1]), crs="EPSG:32632")
    if overlaps:
        with pytest.raises(InputError, match=r"a \(training\) and b \(validation\) overlap"):
            leaks(tmp_path, {"scenes": ["b"]})
    else:
        assert leaks(tmp_path, {"scenes": ["b"]}) == ()


def test_degrees_and_metres_are_compared_on_both_sides_of_the_date_line(tmp_path):
    put_scene(tmp_path, "utm", (50, 60), corner=(166_000, 8_000_000), crs="EPSG:32701", size=30)
    put_scene(tmp_path, "deg", (30, 30), corner=(179.8, -17.9), crs="EPSG:4326", size=0.003)
    put_scene(tmp_path, "far", (30, 30), corner=(-120.0, 40.0), crs="EPSG:4326", size=0.003)
    assert leaks(tmp_path, {"scenes": ["utm", "far"]}) == ()


def test_crs_that_nothing_joins_are_told(tmp_path):
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    put_scene(tmp_path, "a", (20, 30))
    put_scene(tmp_path, "b", (20, 30), crs=local)
    (note,) = leaks(tmp_path, {"scenes": ["b"]})
    assert "whether training and validation overlap is not known" in note


def test_copies_on_opposite_sides_are_refused(tmp_path):
    for name in "abc":
        put_scene(tmp_path, name, (20, 30), crs=None)
    settings = settings_for(tmp_path, {"scenes": ["c"]})
    scenes = opened(settings)
    grounds = grounds_of(scenes, settings)
    with pytest.raises(InputError, match=r"b \(training\) and c \(validation\) hold the same pix"):
        refuse_copies(scenes, grounds, ("1", "2", "2"))
    refuse_copies(scenes, grounds, ("1", "1", "2"))
    refuse_copies(scenes, grounds, ("", "", ""))
