"""Small labelled rasters on disk, and settings that train on them."""

from __future__ import annotations

import warnings

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geounet.learn.train_settings import TrainSettings

UTM33 = "EPSG:32633"
CORNER = (331_015.0, 5_822_045.0)


def put(path, array, *, corner=CORNER, crs=UTM33, size=10.0, **profile):
    """Writes ``(band, row, col)`` north up; without a place where ``crs`` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": crs, "transform": Affine(size, 0, corner[0], 0, -size, corner[1])}
    count, height, width = array.shape
    fields = {"driver": "GTiff", "count": count, "height": height, "width": width} | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        fields |= place if crs else {}
        with rasterio.open(path, "w", dtype=array.dtype, **fields) as file:
            file.write(array)


def put_scene(root, name, shape, *, seed=0, labels=None, bands=2, nodata=-999, **place):
    """An image of noise with a hole at (1, 2), and labels of 0, 1 and (ignored) 9."""
    rng = np.random.default_rng(seed)
    image = rng.integers(-200, 3000, (bands, *shape)).astype(np.int16)
    image[0, 1, 2] = nodata
    if labels is None:
        labels = rng.choice([0, 1, 9], shape, p=[0.6, 0.3, 0.1])
    put(root / f"images/{name}.tif", image, nodata=nodata, **place)
    labels = np.asarray(labels, np.uint8)[None]
    put(root / f"labels/{name}.tif", labels, **{k: place[k] for k in place if k in _PLACE})
    return image


_PLACE = ("corner", "crs", "size")


def settings_for(root, validation=None, table=None, classes=2, **changes):
    """Training of two bands, classes 0, 1 …, chips of 16 pixels, depth 1."""
    data = {
        "root": root,
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"green": 1, "nir": 2},
        "scale": 1e-4,
        "ignore": [9],
        "validation": validation,
        "table": table,
    }
    fields = {
        "name": "tiny",
        "classes": [
            {"value": k, "name": f"class {k}", "colour": f"#{k:06x}"} for k in range(classes)
        ],
        "data": data | changes.pop("data", {}),
        "network": {"depth": 1, "base_filters": 2},
        "chip": 16,
        "batch": 4,
    }
    return TrainSettings.model_validate(fields | changes)


def put_table(root, rows):
    """``{stem: place}`` as table.csv."""
    lines = [f"{stem},{place}\n" for stem, place in rows.items()]
    (root / "table.csv").write_text("id,place\n" + "".join(lines))
