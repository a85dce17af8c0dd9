"""Vector files that others made: of whatever they hold, nothing is asked of any server."""

from __future__ import annotations

import json
import os
import zipfile

import geopandas as gpd
import pytest
import shapely
from rasterio.crs import CRS

from geounet import vector_file
from geounet.aoi import read_aoi
from geounet.errors import InputError
from geounet.grid import Grid
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_vector import open_vector_labels
from geounet.vector_file import vector_path
from geounet.zones import Zones
from tests.made_scenes import CORNER, UTM33, north_up
from tests.test_label_vector import CLASSES, SAID

GRID = Grid((60, 80), north_up(10), CRS.from_user_input(UTM33))
WFS = (
    "<WFS_Capabilities version='1.1.0'><OperationsMetadata><Operation name='DescribeFeatureType'>"
    "<DCP><HTTP><Get href='{url}'/></HTTP></DCP></Operation></OperationsMetadata><FeatureTypeList>"
    "<FeatureType><Name>a</Name><DefaultSRS>EPSG:4326</DefaultSRS></FeatureType></FeatureTypeList>"
    "</WFS_Capabilities>"
)
VRT = (
    "<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/vsicurl/{url}.geojson</SrcDataSource>"
    "</OGRVRTLayer></OGRVRTDataSource>"
)
PIPE = "gdal vector convert {url}.json --output-format=stream streamed_dataset"
LABELS = DataSettings(images="a.tif", labels="a", bands={"g": 1}, vector=SAID)
ELSEWHERE = {
    "vrt": VRT,
    "wfs": "<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource>",
    "vrt behind text": '{{"a":"' + VRT + '"}}',
    "wfs behind text": '{{"a":"' + WFS + '"}}',
    "pipeline": '{{"type":"gdal_streamed_alg","command_line":"' + PIPE + '"}}',
}
LINKS = (
    '"crs":{"type":"link","properties":{"href":"URL","type":"proj4"}}',
    '"CRS" : {"TYPE":"urlx","properties":{"url":"URL"}}',
    '"\\u0063rs":{"type":"name","type":"lin\\u006b","properties":{"href":"URL"}}',
    '"crs"/**/:{"type":"link","properties":{"href":"URL"}}',
    "'crs':{'type':'link','properties':{'href':'URL'}}",
    '"crs":' + " " * 5000 + '{"type":"link","properties":{"href":"URL"}}',
)


def collection(*members):
    """A GeoJSON of a square on the grid."""
    x, y = north_up(10) @ (3, 3)
    square = shapely.box(x, y - 50, x + 50, y)
    lonlat = gpd.GeoSeries([square], crs=UTM33).to_crs(4326)
    feature = {"type": "Feature", "properties": {"kind": "lake"}}
    feature["geometry"] = shapely.geometry.mapping(lonlat[0])
    parts = ['"type":"FeatureCollection"', *members, f'"features":[{json.dumps(feature)}]']
    return "{" + ",".join(parts) + "}"


def readers(path):
    """The three that read vector files of others."""
    return (
        lambda: read_aoi(path, GRID),
        lambda: Zones.read(path, GRID),
        lambda: open_vector_labels(str(path), LABELS, CLASSES),
    )


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "shp", "fgb", "zip"])
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_leads_elsewhere_is_refused_and_nothing_is_asked(kind, ending, tmp_path, canary):
    path = tmp_path / f"a.{ending}"
    text = ELSEWHERE[kind].format(url=f"http://127.0.0.1:{canary.server_port}/x")
    path.write_text(("fgb\x03fgb\x01" if ending == "fgb" else "") + text)
    for read in readers(path):
        with pytest.raises(InputError, match=r"which may lead anywhere|is no .* file, whatever"):
            read()
    assert canary.seen == []


@pytest.mark.parametrize("link", LINKS)
def test_a_crs_that_is_an_address_is_refused_and_not_asked(link, tmp_path, canary):
    path = tmp_path / "a.geojson"
    said = link.replace("URL", f"http://127.0.0.1:{canary.server_port}/crs")
    # Before the features, and so far behind them that it lies in another piece of the file.
    for text in (
        collection(said),
        collection('"x":"' + "x" * (vector_file._PIECE - 300) + '"', said),
    ):
        path.write_text(text)
        for read in readers(path):
            with pytest.raises(InputError, match="its CRS is an address"):
                read()
    assert canary.seen == []


@pytest.mark.parametrize(
    "member",
    [
        '"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:OGC:1.3:CRS84"}}',
        '"crs": null',
        '"note":"the \\"crs\\": {\\"type\\":\\"link\\"}"',
        '"names":["crs"]',
        '"meta":{"crs":{"of":"link"}}',
    ],
)
def test_a_plain_geojson_is_read(member, tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(collection(member))
    assert read_aoi(path, GRID).area == pytest.approx(2500, rel=1e-3)
    for read in readers(path):
        read()


@pytest.mark.parametrize("ending", ["gpkg", "shp", "fgb", "geojsonl", "shp.zip"])
def test_each_kind_is_read(ending, tmp_path, monkeypatch):
    x, y = CORNER
    square = shapely.box(x, y - 99, x + 99, y)
    frame = gpd.GeoDataFrame({"name": ["a"]}, geometry=[square], crs=UTM33)
    name = f"s3:a.{ending}"
    plain = tmp_path / name.replace(".shp.zip", ".shp")
    (frame.to_crs(4326) if ending == "geojsonl" else frame).to_file(plain)
    if ending == "shp.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            for part in tmp_path.glob("s3:a.*[!p]"):
                packed.write(part, part.name)
            packed.write(plain, plain.name)
            packed.writestr("README.txt", "of districts")
    monkeypatch.chdir(tmp_path)
    assert read_aoi(name, GRID).area > 9000
    assert Zones.read(name, GRID).names == ("a",)


def test_what_is_no_vector_file_here_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.shp", VRT)
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:40])
    (tmp_path / "a.kml").write_text("<kml/>")
    os.mkfifo(tmp_path / "a.gpkg")
    for name, message in {
        "a.zip": "holds no shapefile; unpack it",
        "b.zip": "cannot be unpacked",
        "a.kml": "ends in none of .gpkg, .*; make a GeoPackage of it with ogr2ogr",
        "a.gpkg": "is a pipe or a device",
        "none.shp": "cannot be read: No such file",
    }.items():
        with pytest.raises(InputError, match=message):
            vector_path(tmp_path / name)
    for name in ("https://a.example/a.gpkg", "/vsimem/a.gpkg", "PG:dbname=x"):
        with pytest.raises(InputError, match=r"download it first|ends in none of"):
            vector_path(name)


@pytest.mark.parametrize("fault", ["damaged", "cut", "encrypted", "packed"])
def test_a_zip_that_cannot_be_unpacked_is_refused(fault, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.shp", bytes(range(256)) * 8)
    data = bytearray(path.read_bytes())
    listed = data.index(b"PK\x01\x02")
    if fault == "damaged":
        data[35:listed] = b"\xff" * (listed - 35)
    elif fault == "cut":
        # Both say that nothing is packed, and that something is held.
        data[18:22] = data[listed + 20 : listed + 24] = bytes(4)
    elif fault == "encrypted":
        data[6] |= 1
        data[listed + 8] |= 1
    else:
        data[8] = data[listed + 10] = 97
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.zip: cannot be unpacked"):
        vector_path(path)
