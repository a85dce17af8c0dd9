"""What a tile costs beside its own work: the scheduler's time, measured with work that is nothing.

    python -m benchmarks.scheduler [--items 5000] [--workers 0 1 2]

A task carries what a real one carries (scene, forward, store) and returns what a real one returns;
its record is journalled. The first tiles go one by one, then up to 16 share a task, as they take
less than 50 ms. Printed: seconds per tile for each number of processes, median of ``--rounds``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from geounet.cluster import cluster
from geounet.engine import run
from geounet.labelling import Work
from geounet.machine import device_name
from geounet.preparation import forward_of, prepare
from geounet.settings import ComputeSettings, SegmentSettings
from geounet.store import Journal, TileRecord

DEMO = Path(__file__).parents[1] / "geounet" / "demo"


def nothing(work: Work, items: tuple[int, ...]) -> list[TileRecord]:
    """The task: records as long as real ones, of no work."""
    seconds = dict.fromkeys(("read", "wait", "compute", "write"), 1e-5)
    counts = {str(value): 1 for value in range(3)}
    areas = {str(value): 100.0 for value in range(3)}
    steps = {str(value): [0] * 20 for value in range(3)}
    return [TileRecord(f"r{k}c{k}", "0" * 64, counts, areas, steps, seconds) for k in items]


def work_of_the_demo() -> Work:
    """What a worker is told of the scene that comes with geounet."""
    scene = DEMO / "scene.yaml"
    prepared = prepare(scene, "water", SegmentSettings(window=256))
    forward = forward_of(prepared.model, prepared.fit, prepared.settings)
    return Work(prepared.fit.scene, forward, prepared.layers, "/nowhere", prepared.plan.cache)


def seconds_per_item(workers: int, items: int, work: Work, journal: bool) -> float:
    """Of one run, from the first task to the last record."""
    with cluster(ComputeSettings(workers=workers)) as client, tempfile.TemporaryDirectory() as at:
        log = Journal(Path(at) / "journal.jsonl")
        log.start({})
        found: list[TileRecord] = []

        def commit(records: list[TileRecord]) -> None:
            if journal:
                log.append(*records)
            found.extend(records)

        started = time.monotonic()
        run(client, partial(nothing, work), range(items), commit, lambda: False)
        taken = time.monotonic() - started
    assert len(found) == items
    return taken / items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    work = work_of_the_demo()
    print(json.dumps({"device": device_name(), "items": args.items, "rounds": args.rounds}))
    for journal in (True, False):
        for workers in args.workers:
            each = [
                seconds_per_item(workers, args.items, work, journal) for _ in range(args.rounds)
            ]
            print(
                json.dumps(
                    {
                        "workers": workers,
                        "journal": journal,
                        "ms_per_tile": round(1000 * median(each), 3),
                        "from_to": [round(1000 * t, 3) for t in (min(each), max(each))],
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
