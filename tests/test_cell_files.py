"""Cells and cleaned labels on disk are those in memory."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geounet.cell_files import CellFiles, CellLabels, put_labels
from geounet.errors import OutputError
from geounet.polygonize import PolygonOptions, reader_of
from geounet.polygons.collect import Choice, Collector
from geounet.polygons.lattice import Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.store import Memory
from geounet.polygons.trace import Tracer
from geounet.vector_settings import Amount
from tests.test_polygonize import COLUMNS, all_of, grid_of, masks

IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@IN_ONE_FOLDER
@given(mask=masks(), side=st.sampled_from([6, 15, 64]), smooth=st.integers(0, 1))
def test_features_of_cells_on_disk_are_those_of_cells_in_memory(tmp_path, mask, side, smooth):
    measures, lattice = Measures(grid_of("north-up", mask.shape)), Lattice(mask.shape, side)
    options = PolygonOptions(simplify=Amount(1, in_pixels=True), smooth=smooth)
    thinning = options.thinning(measures)
    tracer = Tracer(reader_of(mask, 255), measures, lattice, thinning)
    stores = (Memory(), CellFiles(tmp_path))
    for cell in range(lattice.rows * lattice.cols):
        for store in stores:
            store.put(cell, tracer(cell))
    one, other = (
        all_of(Collector(store, lattice, measures, Choice(), thinning.scale).features())
        for store in stores
    )
    if len(one):
        pairs = zip(one.polygon, other.polygon, strict=True)
        assert all(shapely.equals_identical(a, b) for a, b in pairs)
    for name in COLUMNS[1:]:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)


@IN_ONE_FOLDER
@given(mask=masks(), side=st.sampled_from([6, 15, 64]), data=st.data())
def test_any_window_of_cleaned_labels_is_read(tmp_path, mask, side, data):
    lattice = Lattice(mask.shape, side)
    for cell in range(lattice.rows * lattice.cols):
        put_labels(str(tmp_path), cell, mask[lattice.window(cell)].astype(np.int32))
    starts = [data.draw(st.integers(0, n - 1)) for n in mask.shape]
    rows, cols = (
        slice(start, data.draw(st.integers(start + 1, n)))
        for start, n in zip(starts, mask.shape, strict=True)
    )
    assert np.array_equal(CellLabels(str(tmp_path), lattice)((rows, cols)), mask[rows, cols])


def test_a_cell_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"000003\.cell: a traced part .* run the command again"):
        CellFiles(tmp_path).part(3)
