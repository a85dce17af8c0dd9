"""The state of a training run on disk, by orbax: whole and verified, or not there.

A checkpoint is a folder of arrays, one per leaf of the state, and a JSON text. Orbax writes it
under a temporary name and renames it. The text holds a SHA-256 of the arrays, because a finished
file may still be damaged later. Nothing is pickled: the structure of the state comes from the
program, and only arrays come from the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from geounet.errors import OutputError

State = TypeVar("State")
Arrays = dict[str, np.ndarray]


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
        arrays = _arrays_of(state)
        text = {**about, "sha256": _digest(arrays)}
        number = (self._manager.latest_step() or 0) + 1
        with _writing(self.folder):
            self._manager.save(
                number,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(text)
                ),
            )

    def load(self, note: Callable[[str], None]) -> tuple[Arrays, dict[str, Any]] | None:
        """Arrays and text of the newest sound checkpoint, or None if there is none.

        One that is damaged is removed, and ``note`` told.
        """
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(number)
            # Orbax and tensorstore raise all sorts of errors over damaged files.
            except Exception as error:
                cause = " ".join(str(error).split())[:120]
                note(f"{self.folder / str(number)}: damaged ({cause}); the one before it is used")
                self._manager.delete(number)
        return None

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def _read(self, number: int) -> tuple[Arrays, dict[str, Any]]:
        found = self._manager.restore(
            number,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(), about=ocp.args.JsonRestore()),
        )
        if _digest(found.state) != found.about.pop("sha256"):
            raise ValueError("its SHA-256 differs")
        return found.state, found.about


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


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        # ^ tensorstore reports a full disk as ValueError.
        cause = " ".join(str(error).split())[:200]
        raise OutputError(f"{folder}: no checkpoint can be written ({cause})") from error
