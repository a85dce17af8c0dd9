"""XML from outside, read without the parts of XML that can hurt."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from geounet.errors import InputError
from geounet.small_file import read_small

SIZE_LIMIT = 64 * 2**20


def read_xml(path: Path) -> ElementTree.Element:
    """The root of a local XML file of bounded size, without DTD or entities.

    Raises:
        InputError: if it is too large, declares a DTD or entities, or is not XML.
    """
    text = read_small(path, SIZE_LIMIT, "product metadata", InputError)
    # Entities can blow a small file up to gigabytes, or pull in other files. UTF-16 would hide
    # the words from this search, so only UTF-8 and its subsets pass.
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text or b"\0" in text:
        raise InputError(f"{path}: declares a DTD or entities, which are not read; remove them")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: is not XML: {error}; download the product again") from error
