"""From traced cells to features: joined where regions cross cells, in the order of last pixels.

After each row of cells all features whose last pixel lies in it are known. What is held then is a
record for each of them; their vertices are read from the store batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from geounet.area import HECTARE
from geounet.errors import SettingsError
from geounet.features import Features
from geounet.polygon_array import PolygonArray
from geounet.polygons.cell import Sums
from geounet.polygons.emit import polygons_of
from geounet.polygons.join import Joiner, Whole, rings_of
from geounet.polygons.lattice import Lattice
from geounet.polygons.lines import Rings, select, together
from geounet.polygons.measures import Measures
from geounet.polygons.store import CellStore
from geounet.vector_settings import Amount

BATCH = 20_000
"""Features that are held at a time."""


@dataclass(frozen=True)
class Choice:
    """Which regions become features.

    Args:
        classes: class values to keep; None keeps all.
        min_area: regions below it are dropped.
        max_features: the most that there may be.
        max_vertices: the most that one may have.
    """

    classes: tuple[int, ...] | None = None
    min_area: Amount | None = None
    max_features: int | None = None
    max_vertices: int | None = None

    def keeps(self, sums: Sums, measures: Measures) -> ndarray:
        """True for the regions that become features."""
        keep = np.ones(sums.label.size, bool)
        if self.classes is not None:
            keep &= np.isin(sums.label, self.classes)
        if self.min_area is not None:
            in_pixels = self.min_area.in_pixels
            size = sums.n_px if in_pixels else measures.square_metres(sums.area)
            # A region whose area is unknown is kept: nothing says that it is small.
            keep &= ~(size < self.min_area.value)
        return keep


@dataclass(frozen=True)
class Collector:
    """Makes features of the cells in a store.

    Args:
        store: holds every cell of the lattice.
        lattice: the cells.
        measures: of the scene.
        choice: which regions become features.
        scale: units of the vertices in a pixel.
    """

    store: CellStore
    lattice: Lattice
    measures: Measures
    choice: Choice
    scale: int = 1

    def features(self) -> Iterator[Features]:
        """All features, in batches.

        Raises:
            SettingsError: if there are too many, or one is too large.
        """
        if self.choice.max_features is not None:
            self._refuse_many(self.choice.max_features)
        for cells, whole in self._rows():
            yield from self._of_row(cells, whole)

    def _rows(self) -> Iterator[tuple[range, Whole]]:
        joiner = Joiner()
        for row in range(self.lattice.rows):
            cells = self.lattice.row(row)
            parts = [self.store.part(cell) for cell in cells]
            yield cells, joiner.add_row(parts, cells.start, row == self.lattice.rows - 1)

    def _refuse_many(self, most: int) -> None:
        count = 0
        for cells, whole in self._rows():
            tables = [self.store.whole(cell) for cell in cells]
            count += sum(
                int(self.choice.keeps(sums, self.measures).sum()) for sums in (*tables, whole.sums)
            )
        if count > most:
            raise SettingsError(
                f"the map has {count} features, more than --max-features {most}; raise it, or give "
                "--min-area to leave small ones out"
            )

    def _of_row(self, cells: range, whole: Whole) -> Iterator[Features]:
        """The features whose last pixel lies in a row of cells."""
        sums, source, region = self._chosen(cells, whole)
        self._refuse_large(sums)
        order = np.argsort(sums.last, kind="stable")
        for start in range(0, order.size, BATCH):
            part = order[start : start + BATCH]
            rings = self._rings(cells, whole, source[part], region[part])
            polygons = polygons_of(rings, self.measures.grid.transform, self.scale)
            yield self._features(polygons, Sums(*(column[part] for column in sums)))

    def _chosen(self, cells: range, whole: Whole) -> tuple[Sums, ndarray, ndarray]:
        """The regions of a row that become features: sums, source, and number in the source."""
        tables, regions = [], []
        for sums in (*(self.store.whole(cell) for cell in cells), whole.sums):
            regions.append(np.flatnonzero(self.choice.keeps(sums, self.measures)))
            tables.append(Sums(*(column[regions[-1]] for column in sums)))
        source = np.repeat(np.arange(len(tables)), [some.size for some in regions])
        columns = zip(*tables, strict=True)
        return Sums(*(np.concatenate(one) for one in columns)), source, np.concatenate(regions)

    def _rings(self, cells: range, whole: Whole, source: ndarray, region: ndarray) -> Rings:
        """The rings of some regions, each of a cell (``source``) or of several, the last source."""
        found, places = [], []
        for n in np.unique(source).tolist():
            ours = np.flatnonzero(source == n)
            places.append(ours)
            if n < len(cells):
                found.append(self.store.finished(cells[n], region[ours]))
            else:
                found.append(self._joined(whole, region[ours]))
        rings = together(found)
        del found
        return select(rings, np.argsort(np.concatenate(places)))

    def _joined(self, whole: Whole, regions: ndarray) -> Rings:
        """The rings of some complete regions that lie in several cells."""
        rank = np.full(whole.sums.label.size, -1, np.int64)
        rank[regions] = np.arange(regions.size)
        wanted = np.flatnonzero(rank[whole.group] >= 0)
        cells = np.unique(whole.cell[wanted]).tolist()
        parts = [wanted[whole.cell[wanted] == cell] for cell in cells]
        chains = together(
            [self.store.open(cell, whole.part[of]) for cell, of in zip(cells, parts, strict=True)]
        )
        group = np.repeat(rank[whole.group[np.concatenate(parts)]], np.diff(chains.of))
        return rings_of(regions.size, chains, group)

    def _refuse_large(self, sums: Sums) -> None:
        most = self.choice.max_vertices
        if most is not None and sums.vertices.max(initial=0) > most:
            raise SettingsError(
                f"a feature of class {sums.label[sums.vertices.argmax()]} has "
                f"{sums.vertices.max()} vertices, more than --max-vertices {most}; raise it, or "
                f"give --split, which cuts features every {self.lattice.side} pixels"
            )

    def _features(self, polygon: PolygonArray, sums: Sums) -> Features:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums.score / (100.0 * sums.scored)
        return Features(
            polygon,
            sums.label.astype(np.int64),
            sums.n_px,
            self.measures.square_metres(sums.area) / HECTARE,
            self.measures.metres(sums.length),
            mean,
            np.where(sums.scored > 0, sums.least / 100.0, np.nan),
        )
