"""The bootstrap over groups, against a plain loop."""

from __future__ import annotations

import numpy as np

from geounet.learn import metrics
from geounet.learn.intervals import bootstrap

RNG = np.random.default_rng(4)
GROUPS = {"confusion": RNG.integers(1, 900, (7, 3, 3))}


def score(counts):
    confusion = counts["confusion"]
    return {"iou": metrics.iou(confusion), "accuracy": metrics.accuracy(confusion)}


def test_intervals_are_percentiles_of_scores_of_groups_drawn_again():
    low, high = bootstrap(GROUPS, score, draws=600, seed=3)["iou"]
    rng = np.random.default_rng(3)
    drawn = []
    for size in (250, 250, 100):
        for weights in rng.multinomial(7, np.full(7, 1 / 7), size):
            members = [GROUPS["confusion"][k] for k in range(7) for _ in range(weights[k])]
            assert len(members) == 7
            drawn.append(metrics.iou(np.sum(members, axis=0)))
    np.testing.assert_allclose([low, high], np.percentile(drawn, [2.5, 97.5], axis=0))


def test_the_value_lies_inside_and_the_seed_decides():
    ends = bootstrap(GROUPS, score, draws=2000, seed=1)
    values = score({"confusion": GROUPS["confusion"].sum(axis=0)})
    for name, (low, high) in ends.items():
        assert (low < values[name]).all()
        assert (values[name] < high).all()
    again, other = (bootstrap(GROUPS, score, draws=2000, seed=s) for s in (1, 2))
    np.testing.assert_array_equal(ends["iou"], again["iou"])
    assert (ends["iou"][0] != other["iou"][0]).any()


def test_one_group_says_nothing_of_others():
    one = {"confusion": GROUPS["confusion"][:1]}
    low, high = bootstrap(one, score, draws=100)["iou"]
    assert np.isnan([low, high]).all()


def test_draws_without_a_class_leave_its_interval_to_the_others():
    rare = np.zeros((4, 2, 2), np.int64)
    rare[:, 0, 0], rare[0, 1] = 100, [5, 15]
    low, high = bootstrap({"confusion": rare}, score, draws=500)["iou"]
    np.testing.assert_allclose([low[1], high[1]], 0.75)
    rare[0, 1] = 0
    low, high = bootstrap({"confusion": rare}, score, draws=100)["iou"]
    assert np.isnan([low[1], high[1]]).all()
