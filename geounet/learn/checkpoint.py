"""The state of a training run on disk, by orbax: whole and verified, or not there.

A checkpoint is a folder of arrays, one per leaf of the state, and a JSON text. Orbax writes it
under a temporary name and renames it; a SHA-256 of its files then goes beside it. A checkpoint
counts only if that agrees, so that orbax never opens what was damaged later. Nothing is pickled:
the structure of the state comes from the program, and only arrays come from the disk.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

# Before orbax, whose import gives the root logger a handler; distributed would then log to that.
import distributed  # noqa: F401
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from geounet.atomic import free_at, write_bytes
from geounet.errors import OutputError

State = TypeVar("State")
Arrays = dict[str, np.ndarray]
_BYTES_PER_ARRAY = 8192
"""Of its description and of what a disk rounds up."""


class Checkpoints:
    """The newest ``keep`` checkpoints in a folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        with _writing(folder):
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, state: Any, about: Mapping[str, Any]) -> None:
        """Write a checkpoint; the oldest goes once the new one is complete.

        Args:
            state: a tree of arrays.
            about: what JSON can hold.

        Raises:
            OutputError: if the folder cannot be written or the disk is full.
        """
        number, arrays = (self._manager.latest_step() or 0) + 1, _arrays_of(state)
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(dict(about))
        )
        with _writing(self.folder):
            _refuse_full(self.folder, arrays)
            self._manager.save(number, args=parts)
            write_bytes(self._seal(number), _digest(self.folder / str(number)).encode())
            for seal in self.folder.glob("*.sha256"):
                if not seal.with_suffix("").exists():
                    seal.unlink()

    def load(self, note: Callable[[str], None]) -> tuple[Arrays, dict[str, Any]] | None:
        """Arrays and text of the newest sound checkpoint, or None if there is none.

        One that is damaged is removed, and ``note`` told.
        """
        for number in sorted(self._manager.all_steps(), reverse=True):
            if self._is_sound(number):
                parts = {"state": ocp.args.StandardRestore(), "about": ocp.args.JsonRestore()}
                found = self._manager.restore(number, args=ocp.args.Composite(**parts))
                return found.state, found.about
            note(f"{self.folder / str(number)}: damaged or not complete; it is passed over")
            self._manager.delete(number)
        return None

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def _is_sound(self, number: int) -> bool:
        if any(path.is_symlink() for path in (self.folder / str(number)).rglob("*")):
            # What a link leads to would become weights, and orbax writes none.
            return False
        try:
            return self._seal(number).read_text() == _digest(self.folder / str(number))
        except (OSError, UnicodeDecodeError):
            return False

    def _seal(self, number: int) -> Path:
        return self.folder / f"{number}.sha256"


def state_of(arrays: Arrays, like: State) -> State:
    """The state that was saved; ``like`` is one of the same structure, shapes and devices."""
    paths, tree = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(
        tree, [_as(leaf, arrays[jax.tree_util.keystr(path)]) for path, leaf in paths]
    )


def _arrays_of(state: Any) -> Arrays:
    """Path → array of every leaf; a random key as its numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(_bare(leaf)) for path, leaf in leaves}


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bare(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _as(leaf: Any, array: np.ndarray) -> jax.Array:
    """``array`` as what ``leaf`` is: where it lies, and a random key if it is one."""
    if _is_key(leaf):
        key = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        return jax.device_put(key, leaf.sharding)
    return jax.device_put(array, leaf.sharding)


def _refuse_full(folder: Path, arrays: Arrays) -> None:
    """Raise if there is less room than a checkpoint takes with all that is written about it.

    Orbax would notice, too, in several threads at once and with a traceback from each.
    """
    wanted = 2 * sum(array.nbytes for array in arrays.values()) + _BYTES_PER_ARRAY * len(arrays)
    if shutil.disk_usage(folder).free < wanted:
        raise OSError(f"it may take {wanted:,} bytes")


def _digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder)} {inner}\n".encode())
    return digest.hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        # ^ tensorstore reports a full disk as ValueError.
        cause = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{folder}: no checkpoint can be written ({cause}; {free_at(folder)}); "
            "free space, then run with --resume"
        ) from error
