"""Traced cells on disk: a safetensors file each, of which only what is asked for is read."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from geounet.atomic import write_bytes
from geounet.errors import OutputError
from geounet.grid import Window, intersect, shape_of, shift
from geounet.polygons.cell import Cell, Edges, Finished, Open, Sums
from geounet.polygons.join import Part
from geounet.polygons.lattice import Lattice
from geounet.polygons.lines import Chains, Rings, Table, select
from geounet.small_file import read_ours


class CellFiles:
    """A `CellStore` in a folder, which workers may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, number: int, cell: Cell) -> str:
        """Write a cell's file; returns its SHA-256."""
        columns = {
            "held": np.array([cell.held]),
            **_columns("finished", cell.finished),
            **_columns("open", cell.open),
            **{f"edge.{name}": side for name, side in cell.edges._asdict().items()},
        }
        # safetensors writes the memory behind a view as it lies, whatever its strides.
        data = save({name: np.ascontiguousarray(column) for name, column in columns.items()})
        write_bytes(self._path(number), data)
        return sha256(data).hexdigest()

    def holds(self, number: int, digest: str) -> bool:
        """True if the cell's file is there and has this SHA-256."""
        try:
            return sha256(read_ours(self._path(number))).hexdigest() == digest
        except OSError:
            return False

    def held(self, number: int) -> int:
        """Arcs of a cell that were left less simplified."""
        with _opened(self._path(number)) as file:
            return int(file.get_tensor("held")[0])

    def whole(self, number: int) -> Sums:
        """The sums of the finished regions of a cell."""
        with _opened(self._path(number)) as file:
            return _sums(file, "finished")

    def part(self, number: int) -> Part:
        """What is known of the open regions of a cell."""
        with _opened(self._path(number)) as file:
            edges = Edges(*(file.get_tensor(f"edge.{name}") for name in Edges._fields))
            return Part(_sums(file, "open"), edges)

    def finished(self, number: int, regions: ndarray) -> Rings:
        """The rings of some finished regions of a cell."""
        return self._lines(number, "finished", Rings, regions)

    def open(self, number: int, regions: ndarray) -> Chains:
        """The chains of some open regions of a cell."""
        return self._lines(number, "open", Chains, regions)

    def _lines(self, number: int, kind: str, table: type[Table], regions: ndarray) -> Table:
        # Runs of regions that follow one another are read at once.
        breaks = np.flatnonzero(np.diff(regions) != 1) + 1
        with _opened(self._path(number)) as file:
            whole = {
                name: file.get_tensor(f"{kind}.lines.{name}")
                for name in table._fields
                if name != "xy"
            }
            vertices, at = file.get_slice(f"{kind}.lines.xy"), whole["at"][whole["of"]]
            runs = [run for run in np.split(regions, breaks) if run.size]
            spans = [(at[run[0]], at[run[-1] + 1]) for run in runs]
            # A cell within a region has none of its border, and no slice of nothing can be read.
            pieces: list[ndarray] = [vertices[start:stop] for start, stop in spans if start < stop]
        unread = np.empty((whole["at"][-1], 0), np.int32)
        chosen = select(table(**whole, xy=unread), regions)
        return chosen._replace(xy=np.concatenate([*pieces, np.empty((0, 2), np.int32)]))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.cell"


@dataclass(frozen=True)
class CellLabels:
    """Cleaned labels, written cell by cell by `put_labels`; reads any window of the scene."""

    folder: str
    lattice: Lattice

    def __call__(self, window: Window) -> Int32[ndarray, "row col"]:
        """The labels of a window."""
        part = np.empty(shape_of(window), np.int32)
        side, cols = self.lattice.side, self.lattice.cols
        for row in range(window[0].start // side, (window[0].stop - 1) // side + 1):
            for col in range(window[1].start // side, (window[1].stop - 1) // side + 1):
                cell = row * cols + col
                whole = self.lattice.window(cell)
                shared = intersect(whole, window)
                if shared is not None:
                    with _opened(_labels_path(self.folder, cell)) as file:
                        inner = shift(shared, whole)
                        part[shift(shared, window)] = file.get_slice("labels")[inner]
        return part


def put_labels(folder: str, cell: int, labels: Int32[ndarray, "row col"]) -> None:
    """Write the labels of a cell."""
    write_bytes(_labels_path(folder, cell), save({"labels": np.ascontiguousarray(labels)}))


def _labels_path(folder: str, cell: int) -> Path:
    return Path(folder) / f"{cell:06d}.labels"


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{path}: a traced part of the map cannot be read ({error}); run the command again"
        ) from error


def _sums(file: safe_open, kind: str) -> Sums:
    return Sums(*(file.get_tensor(f"{kind}.{name}") for name in Sums._fields))


def _columns(kind: str, traced: Finished | Open) -> dict[str, ndarray]:
    sums, lines = traced
    return {
        **{f"{kind}.{name}": column for name, column in sums._asdict().items()},
        **{f"{kind}.lines.{name}": column for name, column in lines._asdict().items()},
    }
