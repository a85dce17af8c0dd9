"""What is kept of a run beside its model: its settings, and of every epoch metrics.jsonl always,
TensorBoard's event files on request.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geounet.atomic import write_bytes
from geounet.errors import InputError, SettingsError
from geounet.learn.train_settings import TrainSettings, to_yaml, with_root

Record = dict[str, Any]
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
EVENTS = "tensorboard"


def write_config(out: Path, settings: TrainSettings) -> None:
    """All settings of the run, from which ``load_settings`` reads them as they are.

    Raises:
        OutputError: if the folder cannot be written.
    """
    # What is relative would be looked for in ``out``.
    settings = with_root(settings, settings.data.root.absolute())
    write_bytes(out / CONFIG, to_yaml(settings).encode())


def write_records(out: Path, records: Sequence[Record]) -> None:
    """One JSON object per line and epoch; the file holds all of them, or what it held before.

    Raises:
        OutputError: if the folder cannot be written.
    """
    text = "".join(json.dumps(record, sort_keys=True) + "\n" for record in records)
    write_bytes(out / METRICS, text.encode())


def read_records(out: Path) -> tuple[Record, ...]:
    """The records of a run.

    Raises:
        InputError: if the file is missing or is not what ``write_records`` writes.
    """
    path = out / METRICS
    try:
        return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no records of a training ({error}); train again") from error


class Events:
    """TensorBoard's event files in OUT/tensorboard: every number of every record, by epoch."""

    def __init__(self, out: Path, records: Sequence[Record] = ()) -> None:
        """Start anew with the records so far: what an interrupted run wrote beyond them goes.

        Raises:
            SettingsError: if the package that writes them is not installed.
        """
        require_tensorboard()
        from tensorboardX import SummaryWriter

        folder = out / EVENTS
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), write_to_disk=True)
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Write one epoch and flush it."""
        for name, value in _numbers(record):
            self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


def require_tensorboard() -> None:
    """Raise unless event files can be written.

    Raises:
        SettingsError: saying what to install.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "tensorboard: true needs the package tensorboardX; "
            "run `pip install geounet[tensorboard]`, or leave the setting out"
        ) from error


def _numbers(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "epoch":
            found.append((prefix + name, float(value)))
    return found
