"""What two or more dates say of one place, against a loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.card import NODATA
from geounet.change_rules import ChangeRule, Seen

RULE = ChangeRule(both=1, appeared=2, gone=10, neither=3, marked=5, dated=True)


def one(share, valid, marked):
    """Label and score of a pixel, told in words."""
    seen = [k for k in range(len(share)) if valid[k]]
    if len(seen) < 2:
        return NODATA, NODATA
    state = {k: share[k] >= 0.5 for k in seen}
    was, now = state[seen[0]], state[seen[-1]]
    old, new = seen[0], seen[-1]
    label = {(True, True): 1, (False, True): 2, (False, False): 3, (True, False): 10}[was, now]
    if was and not now:
        old = max(k for k in seen if state[k])
        new = min(k for k in seen if k > old)
        label += new
    if now and marked:
        label = 5
    first = share[old] if was else np.float32(1) - share[old]
    second = share[new] if now else np.float32(1) - share[new]
    return label, int(np.round(np.float32(100) * (first * second)))


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_rule_is_what_a_loop_over_pixels_says(dates, seed):
    rng = np.random.default_rng(seed)
    share = rng.random((dates, 5, 7), np.float32)
    valid, marked = rng.random((dates, 5, 7)) < 0.6, rng.random((5, 7)) < 0.3
    labels, score = RULE(Seen(share, valid, marked))
    for place in np.ndindex(5, 7):
        here = (slice(None), *place)
        assert (labels[place], score[place]) == one(share[here], valid[here], marked[place])


@pytest.mark.parametrize(
    ("states", "label"),
    [("FN", 11), ("FNF", 1), ("FNN", 11), ("F-N", 12), ("FFN", 12), ("NFN", 3), ("NF", 2)],
)
def test_a_loss_is_dated_by_the_first_date_without_it_and_what_returns_is_none(states, label):
    share = np.float32([0.9 if s == "F" else 0.1 for s in states])[:, None, None]
    valid = np.array([s != "-" for s in states])[:, None, None]
    assert RULE(Seen(share, valid))[0].item() == label


def test_the_score_of_a_loss_is_of_the_dates_it_lies_between():
    share = np.float32([0.6, 0.9, 0.2, 0.4])[:, None, None]
    labels, score = RULE(Seen(share, np.ones_like(share, bool)))
    assert (labels.item(), score.item()) == (12, 72)
