"""Peak memory of `segment`, mask only, on 4096² and on 16384² pixels with the same window.

    python -m benchmarks.memory --out out/bench

Each job runs in a process of its own; its peak is what the kernel counted. At most 1.1 × is wanted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.made import make_model, make_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--base", type=int, default=8)
    parser.add_argument("--window", type=int, default=1024)
    args = parser.parse_args()
    model = make_model(args.out / f"base{args.base}.safetensors", args.base)
    peaks = {}
    for side in args.sides:
        scene = make_scene(args.out / f"scene-{side}.tif", side)
        peaks[side] = peak_of(scene, model, args.out / "ours", args.window)
        print(f"{side}²: {peaks[side] / 1e6:.0f} MB", flush=True)
    ratio = peaks[args.sides[-1]] / peaks[args.sides[0]]
    print(f"ratio {ratio:.3f}")
    figures = {"base": args.base, "window": args.window, "peak_bytes": peaks, "ratio": ratio}
    (args.out / "memory.json").write_text(json.dumps(figures, indent=2) + "\n")


def peak_of(scene: Path, model: Path, out: Path, window: int) -> int:
    """Peak resident bytes of one job."""
    code = (
        "import resource, sys\n"
        "from geounet.segmentation import segment\n"
        "from geounet.settings import SegmentSettings\n"
        "scene, model, out, window = sys.argv[1:]\n"
        "settings = SegmentSettings(formats=('none',), window=int(window), overwrite=True)\n"
        "segment(scene, model, out, settings)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", code, str(scene), str(model), str(out), str(window)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit


if __name__ == "__main__":
    main()
