"""A report as one HTML page that opens without a network: its style inline, its pictures embedded.

Text becomes `Markup` here and nowhere else, by escaping it; whatever a card or a file name holds,
the page shows it and runs nothing. Its content security policy forbids any address, and any script
but one of ours, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

_LONGEST_WORD = 20
_DOTS = 1.5
"""Pixels of a picture per pixel of the page: sharp on dense screens."""


@dataclass(frozen=True)
class Markup:
    """HTML that is safe to put into a page as it stands."""

    html: str


Content = str | Markup


def page(title: str, lead: str, sections: Sequence[Markup], foot: str, script: str = "") -> bytes:
    """The whole page, encoded; what UTF-8 cannot hold becomes a question mark.

    Args:
        title: of the page and its first heading.
        lead: a sentence below it.
        sections: the body.
        foot: the last sentence.
        script: ours alone, never made of anything that was read.
    """
    template = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    filled = template.substitute(
        title=_safe(title),
        lead=_safe(lead),
        body=_joined(sections),
        foot=_safe(foot),
        policy=f" script-src 'sha256-{digest}'" if script else "",
        script=f"<script>{script}</script>\n" if script else "",
    )
    return filled.encode("utf-8", "replace")


def section(title: str, *parts: Markup) -> Markup:
    """A heading and what belongs to it."""
    return Markup(f"<section>\n<h2>{_safe(title)}</h2>\n{_joined(parts)}\n</section>")


def paragraph(text: Content, hint: bool = False) -> Markup:
    """Running text; a hint is smaller and fainter."""
    kind = ' class="hint"' if hint else ""
    return Markup(f"<p{kind}>{_safe(text)}</p>")


def bullets(items: Sequence[Content]) -> Markup:
    """A list without order."""
    return Markup("<ul>\n" + "\n".join(f"<li>{_safe(item)}</li>" for item in items) + "\n</ul>")


def facts(values: Mapping[str, Content]) -> Markup:
    """Short answers in large type: name → value."""
    cells = (f"<div><dt>{_safe(k)}</dt><dd>{_safe(v)}</dd></div>" for k, v in values.items())
    return Markup('<dl class="facts">\n' + "\n".join(cells) + "\n</dl>")


def fields(caption: str, values: Mapping[str, Content]) -> Markup:
    """Longer answers: a table with one row per name."""
    rows = (
        f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(value)}</td></tr>'
        for name, value in values.items()
    )
    return _table("text", caption, "<tbody>\n" + "\n".join(rows) + "\n</tbody>")


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Content]]) -> Markup:
    """Numbers in columns; the first cell of each row names it."""
    head = "".join(f'<th scope="col">{_safe(text)}</th>' for text in headings)
    lines = (
        f'<tr><th scope="row">{_safe(first)}</th>'
        + "".join(f"<td>{_safe(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>"
    return _table("numbers", caption, body)


def figure(png: bytes, alt: str, caption: str) -> Markup:
    """A picture, embedded; ``alt`` says in words what it shows."""
    data = base64.b64encode(png).decode("ascii")
    # Given in advance, the size keeps the text from jumping; a phone shows it whole and scrolls.
    width, height = (round(side / _DOTS) for side in struct.unpack(">II", png[16:24]))
    image = (
        f'<img src="data:image/png;base64,{data}" alt="{_safe(alt)}"'
        f' width="{width}" height="{height}">'
    )
    box = (
        f'<div class="wide" role="region" aria-label="{_safe(caption)}" tabindex="0">{image}</div>'
    )
    return Markup(f"<figure>\n{box}\n<figcaption>{_safe(caption)}</figcaption>\n</figure>")


def histogram(name: str, colour: str, counts: Sequence[int]) -> Markup:
    """Bars of equal steps from 0 to 100 %, the longest as wide as there is room."""
    most, step = max(*counts, 1), 100 / len(counts)
    first = next((k for k, count in enumerate(counts) if count), len(counts))
    bars = "\n".join(
        f"<dt>{k * step:.0f}–{(k + 1) * step:.0f} %</dt>"
        f'<dd><span class="bar" style="width:{100 * count / most:.2f}%;background:{_safe(colour)}">'
        f"</span><span>{count:,}</span></dd>"
        for k, count in enumerate(counts)
        if k >= first
    )
    return Markup(
        f"<figure>\n<figcaption>{class_label(name, colour).html}</figcaption>\n"
        f'<dl class="bars">\n{bars}\n</dl>\n</figure>'
    )


def details(summary: str, part: Markup) -> Markup:
    """What only some readers open."""
    return Markup(f"<details>\n<summary>{_safe(summary)}</summary>\n{part.html}\n</details>")


def verbatim(text: str) -> Markup:
    """A file's text, line by line as it is."""
    return Markup(f'<pre tabindex="0">{_safe(text)}</pre>')


def class_label(name: str, colour: str) -> Markup:
    """A class's name beside its colour."""
    swatch = f'<span class="swatch" style="background:{_safe(colour)}"></span>'
    first, space, rest = name.partition(" ")
    if len(first) > _LONGEST_WORD:
        return Markup(swatch + _safe(name))
    # A colour alone at the end of a line belongs to nothing.
    return Markup(f'<span class="start">{swatch}{_safe(first)}</span>{space}{_safe(rest)}')


def with_range(value: str, extent: str) -> Markup:
    """A number, and in small type below it the range that it is good for."""
    return Markup(f'{_safe(value)} <span class="range">{_safe(extent)}</span>')


def _table(kind: str, caption: str, body: str) -> Markup:
    # The box scrolls instead of the page, and its caption stays; a tab index lets keys reach it.
    title = _safe(caption)
    return Markup(
        f'<p class="hint">{title}</p>\n'
        f'<div class="wide" role="region" aria-label="{title}" tabindex="0">\n'
        f'<table class="{kind}" aria-label="{title}">\n{body}\n</table>\n</div>'
    )


def _joined(parts: Sequence[Markup]) -> str:
    return "\n".join(part.html for part in parts)


def escaped(text: str) -> str:
    """Text as HTML, for content and for attributes in quotes."""
    return html.escape(text)


def _safe(content: Content) -> str:
    return content.html if isinstance(content, Markup) else escaped(content)
