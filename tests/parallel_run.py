"""``python -m tests.parallel_run FOLDER``: 20 steps on one of the devices, and on all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from geounet.learn import devices
from geounet.learn.loop import fit
from tests.made_source import MadeSource, settings_of


def main(folder: Path) -> None:
    found = jax.local_devices()
    for count in (1, len(found)):
        devices.jax.local_devices = lambda count=count: found[:count]
        fitted = fit(settings_of(batch=8), MadeSource(size=8, held=0), folder / str(count))
        assert fitted.records[-1]["step"] == 20
        state = nnx.state(fitted.network, nnx.Param, nnx.BatchStat)
        leaves = jax.tree_util.tree_leaves_with_path(state)
        values = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        np.savez(folder / f"{count}.npz", **values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
