"""Workers that die, hang or lack memory: the rest is done, and what is lost is named."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest

from geounet import segmentation
from geounet.cluster import cluster
from geounet.engine import Trouble, run
from geounet.errors import ClusterError, InputError
from geounet.map_job import make_map
from geounet.outputs import MapWithHolesError, output_names
from geounet.preparation import prepare
from geounet.reporting import Silence
from geounet.settings import ComputeSettings, SegmentSettings
from tests.faults.troubled_tasks import (
    Once,
    die,
    exhaust,
    exhaust_device,
    hang,
    label_with_harm,
    torn,
    visit,
)
from tests.jobs import read
from tests.test_segment import outputs

BAD = 5
ITEMS = range(12)
TWO = ComputeSettings(workers=2)


def done(client, task, trouble=None):
    """Items that were done, in any order, and why others were lost."""
    found, lost = [], {}
    told = trouble or Trouble(lose=lost.__setitem__)
    run(client, task, ITEMS, lambda records: found.extend(records), lambda: False, told)
    return sorted(record.item for record in found), lost


@pytest.mark.slow
def test_a_poison_item_is_lost_and_all_others_are_done():
    with cluster(TWO) as client:
        found, lost = done(client, partial(visit, die, (BAD,)))
    assert found == [item for item in ITEMS if item != BAD]
    assert list(lost) == [BAD]
    assert "the worker process died each time" in lost[BAD]


@pytest.mark.slow
def test_a_worker_that_is_killed_once_costs_nothing(tmp_path):
    with cluster(TWO) as client:
        found, lost = done(client, partial(visit, Once(die, str(tmp_path)), (BAD,)))
    assert (found, lost) == (list(ITEMS), {})


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_nothing():
    with cluster(TWO) as client:
        pids = list(client.run(os.getpid).values())
        task = partial(visit, hang, ())
        killer = threading.Timer(0.3, os.kill, (pids[0], signal.SIGKILL))
        killer.start()
        items, found = range(60), []
        run(client, task, items, found.extend, lambda: False)
        killer.join()
    assert sorted(record.item for record in found) == list(items)


@pytest.mark.slow
def test_an_item_that_never_ends_is_tried_again_elsewhere_and_then_lost(tmp_path):
    with cluster(TWO) as client:
        lost = {}
        trouble = Trouble(3.0, lose=lost.__setitem__)
        found, _ = done(client, partial(visit, Once(hang, str(tmp_path)), (BAD,)), trouble)
        assert (found, lost) == (list(ITEMS), {})
        found, _ = done(client, partial(visit, hang, (BAD,)), trouble)
    assert found == [item for item in ITEMS if item != BAD]
    assert lost == {BAD: "not done after 3 s"}


@pytest.mark.slow
def test_a_thread_that_never_ends_is_named_with_the_way_out():
    with cluster() as client, pytest.raises(ClusterError, match="--workers 1"):
        done(client, partial(visit, partial(_sleep, 8), (BAD,)), Trouble(0.5))


def _sleep(seconds, _):
    time.sleep(seconds)


@pytest.mark.parametrize("harm", [exhaust, exhaust_device])
def test_an_item_that_takes_too_much_memory_is_tried_alone_and_then_lost(harm, tmp_path):
    with cluster() as client:
        found, lost = done(client, partial(visit, harm, (BAD,)))
        assert found == [item for item in ITEMS if item != BAD]
        assert lost == {BAD: "takes more memory than there is"}
        found, lost = done(client, partial(visit, Once(harm, str(tmp_path)), (BAD,)))
    assert (found, lost) == (list(ITEMS), {})


def test_what_cannot_be_read_ends_all_unless_asked_to_keep_going():
    task = partial(visit, torn, (BAD,))
    with cluster() as client:
        lost = {}
        with pytest.raises(InputError, match=r"scene\.tif: 5 cannot be read"):
            done(client, task, Trouble(lose=lost.__setitem__))
        assert not lost
        found, _ = done(client, task, Trouble(unreadable=True, lose=lost.__setitem__))
    assert found == [item for item in ITEMS if item != BAD]
    assert list(lost) == [BAD]


def test_where_nothing_may_be_lost_the_first_loss_ends_all_by_name():
    trouble = Trouble(name=lambda item: f"tile {item}")
    with (
        cluster() as client,
        pytest.raises(ClusterError, match=r"tile 5: takes more memory.*--window"),
    ):
        done(client, partial(visit, exhaust, (BAD,)), trouble)


def troubled(scene, model, out, harm, bad, **changes):
    """A segmentation of which one tile does harm."""
    settings = SegmentSettings(window=64, **changes)
    prepared = prepare(scene, model, settings)
    recipe = segmentation._recipe(prepared)
    work = segmentation._work(str((out / ".geounet" / "tiles").resolve()), prepared)
    recipe = replace(recipe, task=lambda _: partial(label_with_harm, harm, bad, work))
    return make_map(out, output_names(settings), settings, lambda _: recipe, Silence())


@pytest.mark.slow
def test_a_map_with_a_poison_tile_has_a_hole_that_a_resume_fills(scene, model, tmp_path):
    segmentation.segment(scene, model, tmp_path / "whole", SegmentSettings(window=64))
    tiles = prepare(scene, model, SegmentSettings(window=64)).plan.tiles
    bad, out = tiles[len(tiles) // 2], tmp_path / "out"
    with pytest.raises(MapWithHolesError, match=f"1 of {len(tiles)} tiles.*{bad.name}.*--resume"):
        troubled(scene, model, out, die, bad.name, workers=2)
    whole, mask = read(tmp_path / "whole" / "mask.tif"), read(out / "mask.tif")
    assert (mask[bad.core] == 255).all()
    whole[bad.core] = 255
    np.testing.assert_array_equal(mask, whole)
    (hole,) = json.loads((out / "report.json").read_bytes())["lost_tiles"]
    assert hole["tile"] == bad.name
    assert hole["rows"] == [bad.core[0].start, bad.core[0].stop]
    assert "died" in hole["cause"]
    page = (out / "report.html").read_text()
    assert bad.name in page
    assert "Not done" in page
    assert "1 tile<" in page
    segmentation.segment(scene, model, out, SegmentSettings(window=64, workers=2, resume=True))
    assert outputs(out) == outputs(tmp_path / "whole")
    assert not (out / ".geounet").exists()


@pytest.mark.slow
@pytest.mark.long
def test_a_job_leaves_no_process_behind_when_its_workers_die(scene, model, tmp_path):
    before = set(psutil.Process().children(recursive=True))
    tile = prepare(scene, model, SegmentSettings(window=64)).plan.tiles[0]
    with pytest.raises(MapWithHolesError):
        troubled(scene, model, tmp_path / "out", die, tile.name, workers=1, formats=("none",))
    _, alive = psutil.wait_procs(
        set(psutil.Process().children(recursive=True)) - before, timeout=20
    )
    assert not [p for p in alive if "multiprocessing.resource_tracker" not in str(p.cmdline())]
