"""Files that are almost right: drawn changes of a GeoTIFF's or a model's bytes, by a seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

EXTREMES = (0, 1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_ENTRY = struct.Struct("<HHII")
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
LAYOUT_TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339)
"""Width, length, bits, compression, strips, tiles, predictor and the like."""

Mutation = Callable[[random.Random, bytes], bytes]


def flipped(draw: random.Random, data: bytes) -> bytes:
    """Some bits, most of them in the first kilobyte, where the structure is."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 64))):
        end = min(len(data), 1024) if draw.random() < 0.7 else len(data)
        changed[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def truncated(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def inserted(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.choice((1, 4, 300))) + data[at:]


def deleted(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.choice((1, 4, 300)) :]


def overwritten(draw: random.Random, data: bytes) -> bytes:
    """A run of one byte, as a bad disk leaves."""
    at, length = draw.randrange(len(data)), draw.choice((4, 64, 1024))
    return data[:at] + bytes([draw.choice((0, 255))]) * length + data[at + length :]


def extreme_tag(draw: random.Random, data: bytes) -> bytes:
    """A field of the first directory of a classic TIFF that says something enormous, or nothing."""
    changed = bytearray(data)
    entries = tags_of(data)
    layout = [at for at in entries if struct.unpack_from("<H", data, at)[0] in LAYOUT_TAGS]
    at = draw.choice(layout if draw.random() < 0.8 else entries)
    tag, kind, count, value = _ENTRY.unpack_from(data, at)
    part = draw.choice(("value", "value", "value", "count", "kind", "tag", "items"))
    if part == "items" and count * _SIZES.get(kind, 1) > 4 and value + 4 * count < len(data):
        struct.pack_into("<I", changed, value + 4 * draw.randrange(count), draw.choice(EXTREMES))
    else:
        new = {"value": value, "count": count, "kind": kind, "tag": tag}
        limit = 2**16 if part in ("kind", "tag") else 2**32
        new[part if part in new else "value"] = draw.choice(EXTREMES) % limit
        _ENTRY.pack_into(changed, at, new["tag"], new["kind"], new["count"], new["value"])
    return bytes(changed)


def tags_of(data: bytes) -> list[int]:
    """Where the entries of the first directory begin."""
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    return [first + 2 + _ENTRY.size * k for k in range(count)]


def extreme_length(draw: random.Random, data: bytes) -> bytes:
    """A .safetensors file begins with the length of its header."""
    length = draw.choice((*EXTREMES, 2**40, 2**63, 2**64 - 1, len(data), len(data) - 8))
    return struct.pack("<Q", length) + data[8:]


def bad_header(draw: random.Random, data: bytes) -> bytes:
    """A tensor of another shape, type or place, or one that is missing or too many."""
    header, tensors = parts_of(data)
    name = draw.choice([key for key in header if key != "__metadata__"])
    about = header[name]
    wrong = draw.choice(("dtype", "shape", "data_offsets", "gone", "new", "name", "list"))
    if wrong == "dtype":
        about["dtype"] = draw.choice(("F64", "I8", "BF16", "BOOL", "F8_E4M3", "", "X", 7, None))
    elif wrong in ("shape", "data_offsets"):
        about[wrong] = [draw.choice((*EXTREMES, -1, 2**62, "a", 1.5)) for _ in about[wrong]]
    elif wrong == "gone":
        del header[name]
    elif wrong == "new":
        header["added"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    elif wrong == "name":
        header[name + draw.choice(("x", "\u0000", "/../../x", "💧"))] = header.pop(name)
    else:
        header[name] = draw.choice(([], 7, "text", None, {}))
    return joined(header, tensors)


def bad_card(draw: random.Random, data: bytes) -> bytes:
    """A field of the card that lies, somewhere in its tree, or text that is no card."""
    header, tensors = parts_of(data)
    card = json.loads(header["__metadata__"]["geounet"])
    place: Any = card
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
            break
        place = place[key]
    wrong = (*EXTREMES, -1, 1e308, -1e308, float("nan"), float("inf"), "", "x" * 5000, None, [], {})
    place[key] = draw.choice(wrong)
    text = json.dumps(card)
    if draw.random() < 0.2:
        text = draw.choice((text[:-5], "[" * 5000, "{}", "7", "null", text * 2, "\ud800"))
    header["__metadata__"]["geounet"] = text
    return joined(header, tensors)


def no_numbers(draw: random.Random, data: bytes) -> bytes:
    """Weights that are not finite."""
    header, tensors = parts_of(data)
    changed = bytearray(tensors)
    what = draw.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff"))
    at = 4 * draw.randrange(len(tensors) // 4)
    changed[at : at + 4] = what
    return joined(header, bytes(changed))


def parts_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a .safetensors file, and the bytes of its tensors."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + tensors


TIFF: tuple[Mutation, ...] = (
    *(flipped, truncated, inserted, deleted, overwritten),
    *(extreme_tag,) * 5,
)
MODEL: tuple[Mutation, ...] = (
    *(flipped, truncated, inserted, deleted, overwritten),
    *(extreme_length, bad_header, bad_header, bad_card, bad_card, bad_card, no_numbers),
)


def mutated(seed: int, data: bytes, kinds: tuple[Mutation, ...]) -> tuple[str, bytes]:
    """The name of a drawn mutation, and its outcome."""
    draw = random.Random(seed)
    kind = kinds[seed % len(kinds)]
    return kind.__name__, kind(draw, data)
