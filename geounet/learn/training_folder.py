"""The folder of a training: what it may take over, and what is removed for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geounet.errors import OutputError, SettingsError
from geounet.job import WORK, hold, refuse_link, remove_parts
from geounet.learn.records import CONFIG, EVENTS, METRICS
from geounet.learn.report_page import REPORT_FILES

MODEL = "model.safetensors"
TRAINING = "training"
"""Of checkpoints, in the work folder."""
ENDED = "ended"
"""Of those of a finished training, which are being removed."""


def refuse_own_config(config: Path, out: Path) -> None:
    """What someone wrote is not emptied out with a training.

    Raises:
        SettingsError: if ``config`` is the one that overwriting ``out`` would remove.
    """
    if config.exists() and (out / CONFIG).exists() and config.samefile(out / CONFIG):
        raise SettingsError(
            f"{config}: lies in the folder that --overwrite empties; move it out first, and name "
            "it there"
        )


@contextmanager
def training_folder(out: Path, overwrite: bool, resume: bool) -> Iterator[bool]:
    """Hold ``out`` for one training; yields whether one to resume is finished there.

    The checkpoints go once the block ends without an error.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; name a folder for the model")
    refuse_link(out / WORK / TRAINING)
    with hold(out) as work:
        checkpoints = work / TRAINING
        try:
            if overwrite:
                _remove(out, checkpoints)
            elif not resume:
                _refuse_what_is_there(out, checkpoints)
            elif not checkpoints.exists() and not (out / MODEL).exists():
                _refuse_foreign(out)
            remove_parts(out)
            yield resume and (out / MODEL).exists() and not checkpoints.exists()
            _forget(checkpoints)
        finally:
            if {path.name for path in work.iterdir()} <= {"lock", ENDED}:
                shutil.rmtree(work, ignore_errors=True)


def _forget(checkpoints: Path) -> None:
    """They go at one stroke: with half of them a finished training would seem to have lost all."""
    ended = checkpoints.with_name(ENDED)
    shutil.rmtree(ended, ignore_errors=True)
    if checkpoints.exists():
        checkpoints.rename(ended)


def _remove(out: Path, checkpoints: Path) -> None:
    for name in (MODEL, METRICS, CONFIG, *REPORT_FILES):
        (out / name).unlink(missing_ok=True)
    for folder in (checkpoints, out / EVENTS):
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_what_is_there(out: Path, checkpoints: Path) -> None:
    if checkpoints.exists():
        raise OutputError(
            f"{out}: holds an unfinished training; go on with --resume, or start with --overwrite"
        )
    if _holds_something(out):
        raise OutputError(f"{out}: is not empty; choose another, or overwrite it")


def _refuse_foreign(out: Path) -> None:
    if _holds_something(out):
        raise OutputError(f"{out}: holds no training to resume; choose another, or overwrite it")


def _holds_something(out: Path) -> bool:
    return any(path.name != WORK for path in out.iterdir())
