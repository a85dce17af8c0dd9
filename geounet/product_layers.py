"""The layers of Sentinel-2, Landsat and HLS products, with the scaling of their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from geounet.errors import InputError
from geounet.product_metadata import landsat_level1, read_sentinel
from geounet.scene_options import SceneOptions
from geounet.sensors import (
    ALSO,
    BANDS,
    HLS_NODATA,
    LANDSAT_NODATA,
    S2_NODATA,
    S2_SCALE,
    TOA,
    ProductName,
    hls_scaling,
    landsat_level2,
)


@dataclass(frozen=True)
class Layer:
    """One band of a file, or with ``index`` None all of them; None where the file may say.

    ``undecided`` marks Sentinel-2 numbers of which nobody has said whether they hold the offset.
    """

    file: str
    index: int | None = None
    name: str = ""
    aliases: tuple[str, ...] = ()
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    undecided: bool = False


@dataclass(frozen=True)
class Product:
    """The layers of one scene, and what its names and metadata say of them."""

    name: str
    layers: tuple[Layer, ...]
    sensor: str | None = None
    level: str | None = None
    date: str | None = None
    masks: dict[str, str] = field(default_factory=dict)
    extra_masks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folder: str = ""


def scaled(layer: Layer, sensor: str, about: ProductName | None) -> Layer:
    """What is known of a lone file's numbers from its sensor and its own name."""
    if sensor == "S2":
        free = about is not None and about.offset_free
        return replace(
            layer,
            scale=S2_SCALE,
            offset=0.0 if free else None,
            nodata=S2_NODATA,
            undecided=not free,
        )
    return layer


def sentinel_layers(
    base: Product,
    bands: dict[str, str],
    metadata: Path | None,
    says: ProductName | None,
    options: SceneOptions,
) -> Product:
    if metadata is not None and (options.offset is None or options.scale is None):
        facts = read_sentinel(metadata)
        offsets = sorted({facts.offsets.get(k, 0.0) for k in bands if k in BANDS["S2"]})
        note = (
            f"offset {', '.join(f'{o:g}' for o in offsets)} from {metadata.name}, "
            f"processing baseline {facts.baseline or 'unknown'}"
        )
        layers = _layers("S2", bands, {k: (facts.scale, facts.offsets.get(k)) for k in bands})
        done = replace(base, level=facts.level, date=facts.date or base.date, notes=(note,))
        return replace(done, layers=tuple(replace(x, nodata=S2_NODATA) for x in layers))
    layers = _layers("S2", bands, {})
    return replace(base, layers=tuple(scaled(x, "S2", says) for x in layers))


def landsat_layers(
    base: Product, bands: dict[str, str], says: ProductName | None, options: SceneOptions
) -> Product:
    names = BANDS[base.sensor or ""]
    notes: tuple[str, ...] = ()
    scaling: dict[str, tuple[float | None, float | None]] = {}
    level1 = base.level == TOA
    if says and says.collection == 2 and not level1:
        scaling = {k: landsat_level2(names[k]) for k in bands if k in names}
    elif level1 and (options.scale is None or options.offset is None):
        mtl = _mtl(base)
        reflective = [k for k in bands if k in names and not names[k].startswith("thermal")]
        scaling = {k: landsat_level1(mtl, k[1:]) for k in reflective}
        notes = (f"reflectance from {mtl.name}, divided by the sine of the sun's elevation",)
    layers = _layers(base.sensor or "", bands, scaling)
    filled = tuple(replace(x, nodata=LANDSAT_NODATA) for x in layers)
    return replace(base, layers=filled if says and says.collection else layers, notes=notes)


def _mtl(base: Product) -> Path:
    found = sorted(Path(base.folder).glob("*_MTL.txt"))
    if not found:
        raise InputError(
            f"{base.folder}: is Landsat Level 1, whose numbers have no scale without …_MTL.txt; "
            f"put that file beside the bands, or give --scale and --offset"
        )
    return found[0]


def hls_layers(base: Product, bands: dict[str, str]) -> Product:
    names = BANDS[base.sensor or ""]
    layers = _layers(
        base.sensor or "", bands, {k: hls_scaling(names[k]) for k in bands if k in names}
    )
    return replace(base, layers=tuple(replace(x, nodata=HLS_NODATA) for x in layers))


def _layers(
    sensor: str, bands: dict[str, str], scaling: dict[str, tuple[float | None, float | None]]
) -> tuple[Layer, ...]:
    """The sensor's own bands, in its order."""
    return tuple(
        Layer(
            bands[key],
            1,
            name,
            (key, *ALSO.get((sensor, key), ())),
            *scaling.get(key, (None, None)),
        )
        for key, name in BANDS[sensor].items()
        if key in bands
    )
