"""What pyarrow, another reader of the same interface, finds in our streams."""

from __future__ import annotations

import gc

import numpy as np
import pyarrow as pa
import pytest

from geounet import arrow_stream
from geounet.arrow_stream import ArrowStream, binaries, floats, integers

FIELDS = [("a", "i"), ("b", "l"), ("c", "g"), ("d", "U"), ("e", "Z")]


def columns_of(start: int, count: int):
    numbers = np.arange(start, start + count)
    at = np.arange(count + 1) * 2
    text = "".join(f"{n % 100:02d}" for n in numbers).encode()
    data = np.frombuffer(text, np.uint8)
    return [
        integers(numbers, np.int32),
        integers(numbers * 2**33, np.int64),
        floats(np.where(numbers % 3, numbers / 7, np.nan)),
        binaries(at, data),
        binaries(at, data),
    ]


def test_batches_arrive_one_by_one_with_values_and_gaps():
    made = []

    def batches():
        for start, count in ((0, 11), (11, 1), (12, 0), (12, 20)):
            made.append(start)
            yield columns_of(start, count)

    reader = pa.RecordBatchReader.from_stream(ArrowStream(FIELDS, batches()))
    first = reader.read_next_batch()
    # No batch is made before it is asked for.
    assert made == [0]
    assert first.column("a").to_pylist() == list(range(11))
    del first
    rest = reader.read_all()
    gc.collect()
    numbers = range(11, 32)
    assert rest.column("b").to_pylist() == [n * 2**33 for n in numbers]
    assert rest.column("c").to_pylist() == [n / 7 if n % 3 else None for n in numbers]
    assert rest.column("d").to_pylist() == [f"{n:02d}" for n in numbers]
    assert rest.column("e").to_pylist() == [f"{n:02d}".encode() for n in numbers]
    assert rest.schema.names == [name for name, _ in FIELDS]
    kinds = ["int32", "int64", "double", "large_string", "large_binary"]
    assert [str(kind) for kind in rest.schema.types] == kinds
    del rest, reader
    gc.collect()
    assert not arrow_stream._alive


def test_what_the_source_raises_is_kept():
    def batches():
        yield columns_of(0, 3)
        raise KeyboardInterrupt

    stream = ArrowStream(FIELDS, batches())
    reader = pa.RecordBatchReader.from_stream(stream)
    assert reader.read_next_batch().num_rows == 3
    with pytest.raises(OSError, match="the stream's source failed"):
        reader.read_next_batch()
    assert isinstance(stream.failure, KeyboardInterrupt)


def test_a_stream_of_nothing_has_a_schema():
    table = pa.RecordBatchReader.from_stream(ArrowStream(FIELDS, iter(()))).read_all()
    assert table.num_rows == 0
    assert table.schema.names == [name for name, _ in FIELDS]
