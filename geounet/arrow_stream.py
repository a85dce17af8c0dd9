"""Columns as an Arrow stream, which GDAL writes faster than anything else that it is given.

This is the Arrow C stream interface (arrow.apache.org/docs/format/CStreamInterface.html), so that
pyarrow is not needed. A batch is made when it is asked for and lives until its reader releases it:
GDAL holds one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int64,
    c_void_p,
    cast,
    create_string_buffer,
    pointer,
    py_object,
    pythonapi,
)
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy import ndarray

_RELEASE = CFUNCTYPE(None, c_void_p)
_NULLABLE = 2


class _Schema(Structure):
    pass


class _Array(Structure):
    pass


class _Stream(Structure):
    pass


_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_char_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(_Schema))),
    ("dictionary", c_void_p),
    ("release", _RELEASE),
    ("private_data", c_void_p),
]
_Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(_Array))),
    ("dictionary", c_void_p),
    ("release", _RELEASE),
    ("private_data", c_void_p),
]
_GET_SCHEMA = CFUNCTYPE(c_int, c_void_p, POINTER(_Schema))
_GET_NEXT = CFUNCTYPE(c_int, c_void_p, POINTER(_Array))
_GET_ERROR = CFUNCTYPE(c_void_p, c_void_p)
_Stream._fields_ = [
    ("get_schema", _GET_SCHEMA),
    ("get_next", _GET_NEXT),
    ("get_last_error", _GET_ERROR),
    ("release", _RELEASE),
    ("private_data", c_void_p),
]


_alive: dict[int, Any] = {}
"""What the arrays point to that a reader has not released yet, by their private data."""
_keys = count(1)


def _released(kind: type[Structure]) -> Any:
    """A callback that marks a structure as released, and lets go of what it points to."""

    def release(address: int) -> None:
        given = kind.from_address(address)
        if kind is not _Stream:
            for k in range(given.n_children):
                given.children[k].contents.release = _RELEASE()
            _alive.pop(given.private_data, None)
        given.release = _RELEASE()

    return _RELEASE(release)


# ^ Of the module, not of a stream: a consumer may release what outlived its stream.
_RELEASE_SCHEMA, _RELEASE_ARRAY, _RELEASE_STREAM = map(_released, (_Schema, _Array, _Stream))


@dataclass(frozen=True)
class Column:
    """Values of one field in one batch.

    Attributes:
        length: how many.
        nulls: how many of them are missing.
        buffers: Arrow's, the first of them validity.
        longest: bytes of the longest text.
    """

    length: int
    nulls: int
    buffers: tuple[ndarray | None, ...]
    longest: int = 0


def integers(values: ndarray, dtype: type[np.integer]) -> Column:
    """Whole numbers, none of them missing."""
    return Column(len(values), 0, (None, np.ascontiguousarray(values, dtype)))


def floats(values: ndarray) -> Column:
    """Numbers of 64 bits; NaN is a missing value, since few formats can tell it from one."""
    numbers = np.ascontiguousarray(values, np.float64)
    known = ~np.isnan(numbers)
    nulls = len(known) - int(known.sum())
    return Column(
        len(numbers), nulls, (np.packbits(known, bitorder="little") if nulls else None, numbers)
    )


def binaries(at: ndarray, data: ndarray) -> Column:
    """Value ``k`` is ``data[at[k]:at[k + 1]]``: bytes, or text in UTF-8."""
    offsets = np.ascontiguousarray(at, np.int64)
    return Column(len(at) - 1, 0, (None, offsets, data), int(np.diff(offsets).max(initial=0)))


class ArrowStream:
    """Batches of columns for one reader, once: ``pyogrio.write_arrow(ArrowStream(…), …)``.

    Args:
        fields: name and Arrow format of each column: ``i`` and ``l`` whole numbers of 32 and 64
            bits, ``g`` floats, ``U`` and ``Z`` text and bytes with offsets of 64 bits.
        batches: columns in the order of ``fields``. What it raises stops the reader, whose own
            error says little: the cause is then in ``failure``.
    """

    def __init__(
        self, fields: Sequence[tuple[str, str]], batches: Iterator[Sequence[Column]]
    ) -> None:
        self.failure: BaseException | None = None
        self._batches = batches
        schemas = [_schema_of(name, kind) for name, kind in fields]
        self._schema = _schema_of("", "+s")
        self._schema.n_children = len(schemas)
        self._schema.children = (POINTER(_Schema) * len(schemas))(*map(pointer, schemas))
        self._message = create_string_buffer(b"the stream's source failed")
        self._stream = _Stream(
            _GET_SCHEMA(self._get_schema),
            _GET_NEXT(self._get_next),
            _GET_ERROR(lambda _: cast(self._message, c_void_p).value),
            _RELEASE_STREAM,
            None,
        )

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with the address of the stream, which lives as long as this object."""
        new = pythonapi.PyCapsule_New
        new.restype, new.argtypes = py_object, (c_void_p, c_char_p, c_void_p)
        return new(cast(byref(self._stream), c_void_p), b"arrow_array_stream", None)

    def _get_schema(self, _: int, out: Any) -> int:
        out[0] = self._schema
        return 0

    def _get_next(self, _: int, out: Any) -> int:
        try:
            columns = next(self._batches, None)
            out[0] = _Array() if columns is None else self._array_of(columns)
        except BaseException as error:
            # ^ Also Ctrl-C: nothing may be raised through the reader's C code.
            self.failure = error
            return errno.EIO
        return 0

    def _array_of(self, columns: Sequence[Column]) -> _Array:
        arrays = [_column_array(column) for column in columns]
        children = (POINTER(_Array) * len(arrays))(*map(pointer, arrays))
        whole = _Array(
            length=columns[0].length,
            n_buffers=1,
            n_children=len(arrays),
            buffers=(c_void_p * 1)(None),
            children=children,
            release=_RELEASE_ARRAY,
            private_data=next(_keys),
        )
        _alive[whole.private_data] = (columns, arrays, children, whole)
        return whole


def _schema_of(name: str, kind: str) -> _Schema:
    return _Schema(
        format=kind.encode(), name=name.encode(), flags=_NULLABLE, release=_RELEASE_SCHEMA
    )


def _column_array(column: Column) -> _Array:
    addresses = [None if b is None else b.ctypes.data for b in column.buffers]
    return _Array(
        length=column.length,
        null_count=column.nulls,
        n_buffers=len(addresses),
        buffers=(c_void_p * len(addresses))(*addresses),
        release=_RELEASE_ARRAY,
    )
