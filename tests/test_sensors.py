"""What bands are called, per sensor, and what product names say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.sensors import (
    BANDS,
    MASK_RULES,
    SURFACE,
    TOA,
    band_id,
    canonical,
    common_name,
    hls_scaling,
    landsat_level2,
    read_name,
    readings,
)


@pytest.mark.parametrize(
    ("sensor", "text", "name"),
    [
        ("S2", "B2", "blue"),
        ("S2", "B05", "rededge1"),
        ("S2", "B8A", "nir08"),
        ("S2", "b8", "nir"),
        ("L4-7", "B2", "green"),
        ("L4-7", "B5", "swir1"),
        ("L4-7", "band 7 reflectance", "swir2"),
        ("L8-9", "SR_B5", "nir"),
        ("L8-9", "sr_band2", "blue"),
        ("HLS-L30", "B06", "swir1"),
        ("HLS-S30", "B06", "rededge2"),
        ("S2", "B13", None),
        (None, "B2", None),
        ("S2", "blueish", None),
    ],
)
def test_a_band_id_means_what_its_sensor_says(sensor, text, name):
    assert common_name(sensor, text) == name


def test_a_bare_id_has_a_reading_per_sensor():
    assert readings("B5") == {
        "S2": "rededge1",
        "L8-9": "nir",
        "L4-7": "swir1",
        "HLS-L30": "nir",
        "HLS-S30": "rededge1",
    }
    assert readings("red") == {}


@given(st.sampled_from(sorted({n for names in BANDS.values() for n in names.values()})))
def test_common_names_are_their_own_spelling(name):
    assert canonical(name) == name
    assert canonical(name.upper().replace("_", " ")) == name


@given(st.text(max_size=30))
def test_canonical_is_idempotent_and_total(text):
    assert canonical(canonical(text)) == canonical(text)
    assert band_id(text) is None or readings(text) is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SWIR 16", "swir1"),
        ("swir22", "swir2"),
        ("Narrow NIR", "nir08"),
        ("red edge 1", "rededge1"),
        ("RedEdge075", "rededge2"),
        ("Coastal Aerosol", "coastal"),
        ("B02", "b2"),
        ("b2", "b2"),
    ],
)
def test_names_have_one_spelling(text, name):
    assert canonical(text) == name


@pytest.mark.parametrize(
    ("stem", "sensor", "level", "date", "collection", "free"),
    [
        (
            "S2A_MSIL2A_20230603T101559_N0509_R065_T33UUU_20230603T150203",
            *("S2", SURFACE, "2023-06-03", None, False),
        ),
        (
            "S2B_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204",
            *("S2", TOA, "2017-02-16", None, True),
        ),
        ("T33UUU_20170216T102101_B02", "S2", TOA, "2017-02-16", None, False),
        ("T33UUU_20230603T101559_B8A_20m", "S2", SURFACE, "2023-06-03", None, False),
        ("S2A_33UUU_20230601_0_L2A", "S2", SURFACE, "2023-06-01", None, False),
        ("LC08_L2SP_193023_20200601_20200825_02_T1_SR_B4", "L8-9", SURFACE, "2020-06-01", 2, False),
        ("LE07_L1TP_022049_20020416_20200916_02_T1", "L4-7", TOA, "2002-04-16", 2, False),
        ("LT05_L1TP_022049_19900416_20200916_01_T1", "L4-7", TOA, "1990-04-16", 1, False),
        ("LE70220491999322EDC01_stack", "L4-7", None, "1999-11-18", 0, False),
        ("HLS.L30.T33UUU.2020153T101559.v2.0.B06", "HLS-L30", SURFACE, "2020-06-01", None, False),
        ("HLS.S30.T33UUU.2020153T101559.v2.0", "HLS-S30", SURFACE, "2020-06-01", None, False),
    ],
)
def test_product_names_are_read(stem, sensor, level, date, collection, free):
    said = read_name(stem)
    assert said is not None
    assert (said.sensor, said.level, said.date) == (sensor, level, date)
    assert (said.collection, said.offset_free) == (collection, free)


@pytest.mark.parametrize("stem", ["S2_20150831_B2B3B4B8", "landsat_multiband", "B02", "L8", "HLS"])
def test_other_names_say_nothing(stem):
    assert read_name(stem) is None


@given(st.text(max_size=80))
def test_any_text_can_be_asked(text):
    read_name(text)


@pytest.mark.parametrize("day", ["000", "367", "999"])
def test_a_day_that_no_year_has_is_no_date(day):
    said = read_name(f"HLS.L30.T33UUU.2021{day}T101559.v2.0")
    assert said is not None
    assert said.date is None
    assert read_name("S2A_33UUU_20231345_0_L2A").date is None


def test_thermal_bands_have_their_own_scaling():
    assert landsat_level2("red") == (0.0000275, -0.2)
    assert landsat_level2("thermal1") == (0.00341802, 149.0)
    assert hls_scaling("nir") == (0.0001, 0.0)
    assert hls_scaling("thermal2") == (0.01, 0.0)
    assert MASK_RULES["scl"] == "values=3,8,9,10"
