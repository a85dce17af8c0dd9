"""Speed of `segment` on the CPU: against its own bare forward pass, and against PyTorch.

    python -m benchmarks.speed --out out/bench [--side 4096] [--rounds 3]

Everything is timed in turn, in one process, after a warm-up; ratios are medians over the rounds.
Start-up and compilation are printed apart. On a GPU the split of read, compute and write is what
matters: --side 10980 --no-rival.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks.made import make_model, make_scene
from geounet.grid import Plan
from geounet.machine import device_name
from geounet.model_file import load_model
from geounet.predict import Predictor
from geounet.segmentation import segment
from geounet.settings import SegmentSettings

HALO = 96


def main() -> None:
    args = arguments()
    folder = args.out
    scene = make_scene(folder / f"scene-{args.side}.tif", args.side)
    small = make_scene(folder / "scene-1024.tif", 1024)
    model = make_model(folder / f"base{args.base}.safetensors", args.base)
    figures = {
        "device": device_name(), "side": args.side, "base": args.base, "rounds": args.rounds,
        "start-up_s": start_up(), **against_own_forward(scene, small, model, args),
    }  # fmt: skip
    if args.rival:
        figures |= against_rival(scene, model, folder, args)
    print(json.dumps(figures, indent=2))
    (folder / "speed.json").write_text(json.dumps(figures, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--rival", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--best", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def start_up() -> float:
    """Seconds to import everything and open a Dask cluster in a fresh process."""
    code = "import geounet.segmentation as s, geounet.cluster as e\nwith e.cluster() as c: pass"
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def against_own_forward(scene: Path, small: Path, model: Path, args) -> dict:
    """(a): segment against tiles × one bare jitted forward; ≤ 1.15 is wanted."""
    forward, compilation = bare_forward(model, args.window, args.precision)
    ours(small, model, args.out, args)
    tiles = len(Plan((args.side, args.side), args.window, HALO, 16).tiles)
    ratios, seconds, splits = [], [], []
    for _ in range(args.rounds):
        one = statistics.median(timed(forward) for _ in range(3))
        whole, split = ours(scene, model, args.out, args)
        one = statistics.mean([one, statistics.median(timed(forward) for _ in range(3))])
        ratios.append(whole / (tiles * one))
        seconds.append(whole)
        splits.append(split)
    middle = sorted(range(args.rounds), key=lambda k: seconds[k])[args.rounds // 2]
    return {
        "tiles": tiles, "compilation_s": compilation, "forward_s": one,
        "segment_s": statistics.median(seconds), "segment_split": splits[middle],
        "segment_Mpx_per_s": args.side**2 / 1e6 / statistics.median(seconds),
        "segment_over_forward": statistics.median(ratios), "ratios_a": ratios,
    }  # fmt: skip


def bare_forward(model: Path, window: int, precision: str):
    """A function that runs the jitted network once on a window, and its compilation time."""
    loaded = load_model(model)
    bands = len(loaded.card.bands)
    predictor = Predictor(loaded.network, loaded.card, (1e-4,) * bands, (0.0,) * bands, precision)
    rng = np.random.default_rng(0)
    pixels = jax.device_put(rng.integers(1, 3000, (window, window, bands)).astype(np.uint16))
    valid = jax.device_put(np.ones((window, window), bool))

    def run() -> None:
        predictor.logits(pixels, valid).block_until_ready()

    first = timed(run)
    return run, first - timed(run)


def ours(scene: Path, model: Path, out: Path, args, window: int | None = None):
    """Seconds of one `segment` call, mask only, and where they went."""
    settings = SegmentSettings(
        formats=("none",), window=window or args.window, precision=args.precision, overwrite=True
    )
    seconds = timed(lambda: segment(scene, model, out / "ours", settings))
    report = json.loads((out / "ours" / "report.json").read_text())
    return seconds, report["run"]


def against_rival(scene: Path, model: Path, folder: Path, args) -> dict:
    """(b): at equal windows in turn (≤ 1.1 is wanted), then each at its own best window."""
    from benchmarks.rival import Rival

    rival, mask = Rival(model), folder / "rival.tif"
    ratios, seconds = [], []
    for _ in range(args.rounds):
        theirs = rival.segment(scene, mask, args.window, HALO)
        ratios.append(ours(scene, model, folder, args)[0] / theirs)
        seconds.append(theirs)
    figures = {
        "torch_f32_s": statistics.median(seconds),
        "segment_over_torch_f32": statistics.median(ratios), "ratios_b": ratios,
    }  # fmt: skip
    figures["torch_bf16_64px_halo_s"] = Rival(model, bf16=True).segment(
        scene, mask, args.window, 64
    )
    if args.best:
        windows = (512, 1024, 2048)
        figures["ours_by_window_s"] = {w: ours(scene, model, folder, args, w)[0] for w in windows}
        figures["torch_by_window_s"] = {w: rival.segment(scene, mask, w, HALO) for w in windows}
        best = min(figures["ours_by_window_s"].values())
        figures["best_over_best"] = best / min(figures["torch_by_window_s"].values())
    return figures


def timed(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
