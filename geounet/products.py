"""Finds the band files of a product: a folder, a metadata file, a scene.yaml or one raster.

No raster is opened here; what comes out is a list of layers for scene.py to look at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from geounet.errors import InputError
from geounet.locations import is_remote, locate, shown
from geounet.product_layers import (
    Layer,
    Product,
    hls_layers,
    landsat_layers,
    scaled,
    sentinel_layers,
)
from geounet.scene_file import SceneFile, read_scene_file
from geounet.scene_options import SceneOptions
from geounet.sensors import (
    BANDS,
    ProductName,
    read_name,
)
from geounet.small_file import is_there

FILES_LIMIT = 10_000
"""Files looked at in a folder: a product has hundreds, a home directory more."""
_RASTERS = (".jp2", ".tif", ".tiff", ".gtif")
_BAND_FILE = re.compile(
    r"(?:^|[_.-])(?:(?:SR|ST)_)?(B\d{1,2}A?|SCL|QA_PIXEL|Fmask)(?:_(\d\d)m)?$", re.IGNORECASE
)
_MASKS = {"SCL": "scl", "QA_PIXEL": "qa_pixel", "FMASK": "hls"}


def find_product(source: str | Path, options: SceneOptions) -> Product:
    """What a SCENE argument stands for.

    Raises:
        InputError: if it is missing, holds no bands, or its numbers cannot be scaled.
    """
    file = locate(source, allow_private=options.allow_private)
    path = Path(file)
    if is_remote(file):
        return _single(file, options)
    if not is_there(path):
        raise InputError(f"{file}: does not exist; check the path")
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_scene_file(path, options)
    if path.suffix.lower() == ".zip":
        raise InputError(f"{file}: is an archive; unpack it with `unzip` and give the folder")
    if re.fullmatch(r"MTD_MSIL(1C|2A)\.xml|.*_MTL\.txt", path.name):
        path = path.parent
    return _folder(path, options) if path.is_dir() else _single(str(path), options)


def slug(text: str) -> str:
    """A name that is safe as a folder on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:120].strip("._-") or "scene"


def _single(file: str, options: SceneOptions) -> Product:
    stem = Path(shown(file)).stem
    says = read_name(stem)
    sensor = options.sensor or (says.sensor if says else None)
    about = says if says and says.sensor == sensor else None
    base = Product(
        name=slug(stem),
        layers=(),
        sensor=sensor,
        level=about.level if about else None,
        date=says.date if says else None,
        folder="" if is_remote(file) else str(Path(file).parent),
    )
    band = _BAND_FILE.search(stem)
    if about and band and _key(band[1]) in BANDS[about.sensor]:
        metadata = _sentinel_metadata(Path(base.folder)) if base.folder else None
        return _scaled_as_product(base, {_key(band[1]): file}, metadata, about, options)
    layer = Layer(file)
    return replace(base, layers=(scaled(layer, sensor, about) if sensor else layer,))


def _folder(path: Path, options: SceneOptions) -> Product:
    yaml = path / "scene.yaml"
    if yaml.is_file():
        return _from_scene_file(yaml, options)
    metadata = _sentinel_metadata(path)
    files = _band_files(path)
    if not files:
        raise InputError(
            f"{path}: holds no band files such as …_B02.jp2 or …_SR_B2.TIF; give one raster, a "
            f"product folder, or a scene.yaml that names the bands"
        )
    says = _one_name(path, [f for f, _ in files.values()])
    base = Product(
        name=slug(_product_name(path, metadata, files)),
        layers=(),
        sensor="S2" if metadata else options.sensor or (says.sensor if says else None),
        level=says.level if says else None,
        date=says.date if says else None,
        masks={_MASKS[k]: str(f) for k, (f, _) in files.items() if k in _MASKS},
        folder=str(path),
    )
    bands = {k: str(f) for k, (f, _) in files.items() if k not in _MASKS}
    return _scaled_as_product(base, bands, metadata, says, options)


def _scaled_as_product(
    base: Product,
    bands: dict[str, str],
    metadata: Path | None,
    says: ProductName | None,
    options: SceneOptions,
) -> Product:
    """The product with a layer per band file, scaled as its sensor and level say."""
    if base.sensor == "S2":
        return sentinel_layers(base, bands, metadata, says, options)
    if base.sensor in ("L4-7", "L8-9"):
        return landsat_layers(base, bands, says, options)
    if base.sensor in ("HLS-L30", "HLS-S30"):
        return hls_layers(base, bands)
    return replace(base, layers=tuple(Layer(f, 1, k) for k, f in sorted(bands.items())))


def _walk(path: Path) -> list[Path]:
    """Files of a folder and its folders, without following links, in a fixed order."""
    found: list[Path] = []
    pending = [path]
    while pending:
        folder = pending.pop()
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)
            elif entry.is_file():
                found.append(entry)
        if len(found) > FILES_LIMIT:
            raise InputError(
                f"{path}: holds more than {FILES_LIMIT} files; give the folder of one product"
            )
    return found


def _band_files(path: Path) -> dict[str, tuple[Path, int]]:
    """Band id to file and stated resolution: of several files of a band the finest."""
    best: dict[str, tuple[Path, int]] = {}
    for file in _walk(path):
        found = _BAND_FILE.search(file.stem)
        if file.suffix.lower() not in _RASTERS or not found or "QI_DATA" in file.parts:
            continue
        key, size = _key(found[1]), int(found[2] or 0)
        if key in best and best[key][1] == size:
            raise InputError(
                f"{path}: has {best[key][0].name} and {file.name} for band {key}; give the folder "
                f"of one product (of one granule), or a scene.yaml"
            )
        if key not in best or size < best[key][1]:
            best[key] = (file, size)
    return best


def _key(text: str) -> str:
    """ "B02" and "b2" are "B2", "scl" is "SCL"."""
    return re.sub(r"^B0*(?=\d)", "B", text.upper())


def _one_name(path: Path, files: list[Path]) -> ProductName | None:
    """What the folder's and the files' names say; they must agree on the sensor."""
    said = [n for n in (read_name(f.stem) for f in files) if n]
    if len({(n.sensor, n.date) for n in said}) > 1:
        raise InputError(
            f"{path}: holds files of several products; give the folder of one, or a scene.yaml"
        )
    of_folder = next((n for p in (path, *path.parents[:4]) if (n := read_name(p.name))), None)
    if of_folder and (not said or said[0].sensor == of_folder.sensor):
        return of_folder
    return said[0] if said else None


def _product_name(path: Path, metadata: Path | None, files: dict[str, tuple[Path, int]]) -> str:
    if metadata:
        return metadata.parent.name.removesuffix(".SAFE")
    if read_name(path.name):
        return path.name
    stems = {_BAND_FILE.sub("", f.stem) for f, _ in files.values()}
    return stems.pop() if len(stems) == 1 and "" not in stems else path.name


def _sentinel_metadata(path: Path) -> Path | None:
    """The product's XML in the folder, or in the .SAFE around it."""
    around = [p for p in path.parents[:4] if p.suffix.upper() == ".SAFE"]
    for folder in (path, *around):
        found = sorted(folder.glob("MTD_MSIL[12][AC].xml"))
        if found:
            return found[0]
    return None


def _from_scene_file(path: Path, options: SceneOptions) -> Product:
    said: SceneFile = read_scene_file(path)
    layers = tuple(
        Layer(
            locate(band.file, path.parent, options.allow_private),
            band.band,
            name,
            (),
            said.scale if band.scale is None else band.scale,
            said.offset if band.offset is None else band.offset,
            said.nodata if band.nodata is None else band.nodata,
        )
        for name, band in said.bands.items()
    )
    return Product(
        name=slug(said.name or (path.stem if path.stem != "scene" else path.resolve().parent.name)),
        layers=layers,
        sensor=said.sensor,
        level=said.level,
        date=said.date.isoformat() if said.date else None,
        extra_masks=said.mask,
        folder=str(path.parent),
    )
