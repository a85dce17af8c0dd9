"""Everything that `make bench` measures, one after the other."""

from __future__ import annotations

import subprocess
import sys


def main() -> None:
    for name in ("forward", "speed", "memory"):
        print(f"== benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
