"""The cluster of a job: where it listens, and how a failure comes back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import SimpleNamespace

import psutil
import pytest

from geounet import flights
from geounet.cluster import OneDevice, _refuse_crowd, cluster
from geounet.engine import run
from geounet.errors import ClusterError, GeounetError, SettingsError
from geounet.settings import ComputeSettings


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_listens_beyond_loopback(workers):
    with cluster(ComputeSettings(workers=workers)):
        here = psutil.Process()
        processes = [here, *here.children(recursive=True)]
        sockets = [c for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"]
        assert sockets
        assert {s.laddr.ip for s in sockets} <= {"127.0.0.1", "::1"}


def test_each_process_sees_an_accelerator_of_its_own():
    with cluster(ComputeSettings(workers=2)) as client:
        client.register_plugin(OneDevice(("3", "5")), name="test")
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["3", "5"]
    with pytest.raises(SettingsError, match="--workers 3: this machine has 2 accelerators"):
        _refuse_crowd(3, ("3", "5"))


def test_two_jobs_run_beside_each_other():
    with cluster(), cluster() as client:
        assert client.nthreads()


def test_a_scheduler_that_does_not_answer_is_named():
    silent = cluster(ComputeSettings(scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(GeounetError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        silent.__enter__()


@dataclass(frozen=True)
class Visited:
    seconds: dict[str, float]


def visit(items):
    return [Visited({"compute": 0.1}) for _ in items]


def test_a_client_that_ends_while_tasks_are_sent_is_a_scheduler_that_is_gone():
    with cluster() as client, pytest.raises(ClusterError, match=r"scheduler is gone.*--resume"):
        run(client, visit, range(50), lambda _: client.close(), should_stop=lambda: False)


def test_time_in_which_nobody_looked_does_not_count_as_time_without_workers(monkeypatch):
    clock, there = [0.0], {"a worker": 3}
    monkeypatch.setattr(flights, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(flights.Flights, "_threads", lambda _: dict(there))
    found = flights.Flights(None, None, 1.0)
    found._look()
    there.clear()
    clock[0] = 300.0
    found._look()
    for _ in range(55):
        clock[0] += 1.0
        found._look()
    clock[0] += 1.0
    with pytest.raises(ClusterError, match="no worker has answered for 60 s"):
        found._look()


def test_nothing_to_do_ends_at_once():
    with cluster() as client:
        run(client, None, [], commit=None, should_stop=lambda: False)
