"""What it costs that nothing done is lost: a CPU job with and without its safeguards.

    python -m benchmarks.overhead --out out/bench

The safeguards are the journal, SHA-256 of tiles, CRC-32 of pieces, reading files again, and
flushing them to the disk. Without them the same job runs with these taken out, here and nowhere
else. Both run in turn, each in a process of its own; medians are compared. At most 5 % is wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from benchmarks.made import make_model, make_scene

WANTED = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--base", type=int, default=8)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    scene = make_scene(args.out / f"scene-{args.side}.tif", args.side)
    model = make_model(args.out / f"base{args.base}.safetensors", args.base)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(args.repeats):
        # Whoever comes second finds the scene in the page cache: they take turns in that, too.
        for how in sorted(seconds, reverse=bool(turn % 2)):
            took = seconds_of(scene, model, args.out / "ours", args.window, how)
            seconds[how].append(took)
            print(f"turn {turn + 1}, {how} safeguards: {took:.2f} s", flush=True)
    bare, safe = median(seconds["without"]), median(seconds["with"])
    share = (safe - bare) / safe
    print(f"median with {safe:.2f} s, without {bare:.2f} s: {share:.1%} (wanted {WANTED:.0%})")
    turns = zip(seconds["with"], seconds["without"], strict=True)
    print(f"median of the turns' own shares {median((w - o) / w for w, o in turns):.1%}")
    print(f"load at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    figures = {"side": args.side, "base": args.base, "window": args.window, "seconds": seconds}
    (args.out / "overhead.json").write_text(
        json.dumps({**figures, "share": share}, indent=2) + "\n"
    )


def seconds_of(scene: Path, model: Path, out: Path, window: int, how: str) -> float:
    """Wall time of one job, from the call to its return."""
    code = "import sys; from benchmarks.overhead import timed; timed(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(scene), str(model), str(out), str(window), how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def timed(scene: str, model: str, out: str, window: str, how: str) -> None:
    """Do the job in this process and print its seconds."""
    import time

    from geounet.segmentation import segment
    from geounet.settings import SegmentSettings

    if how == "without":
        _take_out()
    settings = SegmentSettings(
        formats=("gpkg",), min_area="100px", window=int(window), overwrite=True
    )
    began = time.perf_counter()
    segment(scene, model, out, settings)
    print(time.perf_counter() - began)


def _take_out() -> None:
    """The same job without its safeguards: what is left is what makes the map."""
    from geounet import atomic, cog, placing, store, vector

    cheap = SimpleNamespace(sha256=lambda data: SimpleNamespace(hexdigest=lambda: f"{0:064x}"))
    replaced = [
        (store, "hashlib", cheap),
        (store.Journal, "append", lambda self, *records: None),
        (cog, "crc32", lambda data: 0),
        (cog, "_verify", lambda *given: None),
        (vector, "_verify", lambda *given: None),
        (atomic, "sync", lambda path: None),
        (placing, "sync", lambda path: None),
        (os, "fsync", lambda handle: None),
    ]
    for place, name, value in replaced:
        if not hasattr(place, name):
            raise AttributeError(f"{place} has no {name} any more: measure what took its place")
        setattr(place, name, value)


if __name__ == "__main__":
    main()
