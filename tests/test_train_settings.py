"""Settings that cannot be are refused with their file, their place and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from geounet.card import Architecture
from geounet.cli import run
from geounet.errors import InputError, SettingsError
from geounet.learn.network_settings import MOST_INPUTS
from geounet.learn.train_settings import TrainSettings, load_settings, naming
from tests.labelled_scenes import put_scene

FIELDS = {
    "name": "tiny",
    "classes": [
        {"value": 0, "name": "land", "colour": "#d8cfb4"},
        {"value": 1, "name": "water", "colour": "#1f78b4"},
    ],
    "data": {"images": "i/*.tif", "labels": "l/*.tif", "bands": {"red": 1}},
}


def refusal(tmp_path, **fields):
    path = tmp_path / "c.yaml"
    data = FIELDS["data"] | fields.pop("data", {})
    path.write_text(yaml.safe_dump(FIELDS | {"data": data} | fields))
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_label_that_means_nothing_is_sent_to_ignore(tmp_path):
    told = refusal(tmp_path, data={"remap": {3: 1, 2: None}})
    assert told == "data.remap: 2 means no class; write it under data.ignore, as in ignore: [2]"


def test_a_channel_is_one_band_only(tmp_path):
    told = refusal(tmp_path, data={"bands": {"red": 1, "green": 2, "nir": "1"}})
    assert told == "data: bands nir and red are both 1; give each band a channel of its own"


def test_a_warm_up_fits_into_the_epochs(tmp_path):
    told = refusal(tmp_path, epochs=2, optimiser={"warmup_epochs": 2.5})
    assert told == (
        "optimiser.warmup_epochs 2.5 is longer than epochs 2; shorten it, or train longer"
    )
    TrainSettings.model_validate(FIELDS | {"epochs": 2, "optimiser": {"warmup_epochs": 2}})


FLOATS = {
    "optimiser": (
        *("learning_rate", "warmup_epochs", "final_rate", "momentum", "weight_decay"),
        *("clip_norm", "ema"),
    ),
    "loss": (
        *("cross_entropy", "dice", "focal_gamma", "tversky_alpha", "border", "border_sigma"),
        "label_smoothing",
    ),
    "augment": (
        *("elastic", "gain", "haze", "haze_decay", "band_offset", "brightness", "noise"),
        *("stretch", "gamma", "band_dropout"),
    ),
    "network": ("dropout",),
    "data": ("scale", "offset", "resolution"),
}


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("section", FLOATS)
def test_numbers_without_end_are_refused_by_name(tmp_path, section, number):
    for name in FLOATS[section]:
        if number == 1e300 and section == "data":
            continue
        assert f"{section}.{name}: Input should be" in refusal(
            tmp_path, **{section: {name: number}}
        )


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"checkpoint_minutes": float("inf")}, "checkpoint_minutes: Input should be a finite"),
        ({"augment": {"zoom": [1, float("inf")]}}, "augment.zoom.1: Input should be"),
        ({"augment": {"zoom": [0.01, 1]}}, "augment.zoom.0: Input should be greater"),
        ({"augment": {"elastic": 1e9}}, "augment.elastic: Input should be less"),
        ({"augment": {"stretch_range": [0, float("nan")]}}, "augment.stretch_range.1: Input"),
        ({"pixel_size": [10, float("inf")]}, "pixel_size.1: Input should be"),
        ({"pixel_size": [30, 10]}, "pixel_size: goes from small to large, but is [30.0, 10.0]"),
        ({"chip": 33}, "chip 33 must be a multiple of 16 for depth 4; the next size is 48"),
        ({"chp": 32}, "chp: unknown; did you mean chip?"),
        ({"wibble": 32}, "wibble: unknown; see configs/template.yaml"),
        ({"optimiser": {"plateau": {"facter": 1}}}, "optimiser.plateau.facter: unknown; did you m"),
        ({"data": {"validation": {"scene": ["a"]}}}, "data.validation.scene: unknown; did you"),
        ({"data": {"bands": [1, 2]}}, "data.bands: a list holds names; write channels with"),
    ],
)  # fmt: skip
def test_a_refusal_begins_with_the_place_and_says_what_to_write(tmp_path, fields, cause):
    assert refusal(tmp_path, **fields).startswith(cause)


def test_a_wrong_item_is_all_that_is_said_of_a_list(tmp_path):
    classes = [FIELDS["classes"][0], FIELDS["classes"][1] | {"colour": "blue"}]
    said = refusal(tmp_path, classes=classes)
    assert said.startswith("classes.1.colour: String should match")
    assert ";" not in said
    assert "classes: Tuple should have at least 2" in refusal(tmp_path, classes=classes[:1])


def test_more_inputs_than_a_card_can_hold_are_refused(tmp_path):
    said = refusal(tmp_path, data={"bands": {f"b{k}": k for k in range(1, 258)}})
    assert said == (
        "a network has at most 256 inputs, but data.bands names 257 bands; choose fewer"
    )
    many = {"bands": {f"b{k}": k for k in range(1, 130)}, "stretch": {}}
    assert "129 bands, twice each for data.stretch" in refusal(tmp_path, data=many)
    assert Architecture(bands=MOST_INPUTS, outputs=1).bands == MOST_INPUTS
    with pytest.raises(ValidationError, match="less than or equal to 256"):
        Architecture(bands=MOST_INPUTS + 1, outputs=1)


def test_nodata_may_be_nan():
    data = FIELDS["data"] | {"nodata": float("nan")}
    assert TrainSettings.model_validate(FIELDS | {"data": data}).data.nodata != 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("data.validation: has no folds", "c.yaml: data.validation: has no folds"),
        ("loss.class_weights: has 3", "c.yaml: loss.class_weights: has 3"),
        ("keep: best needs validation", "c.yaml: keep: best needs validation"),
        ("--group: no such column", "--group: no such column"),
        ("/out/x: is not empty", "/out/x: is not empty"),
    ],
)
def test_errors_of_a_setting_name_its_file(said, told):
    with pytest.raises(SettingsError) as caught, naming(Path("c.yaml")):
        raise SettingsError(said)
    assert str(caught.value) == told
    with pytest.raises(InputError, match=r"^data: gone$"), naming(Path("c.yaml")):
        raise InputError("data: gone")


def test_the_command_names_the_file_of_a_setting_that_the_data_refuses(tmp_path, capsys):
    put_scene(tmp_path, "a", (20, 33))
    put_scene(tmp_path, "b", (20, 33))
    data = {"images": "images/*.tif", "labels": "labels/*.tif", "validation": {"scenes": ["zz"]}}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(FIELDS | {"data": FIELDS["data"] | data}))
    assert run(["train", str(path), str(tmp_path / "out")]) == 2
    told = f"{path}: data.validation: no scene is called zz; there is a, b"
    assert told in capsys.readouterr().err
