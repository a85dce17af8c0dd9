"""Training: it learns, it repeats itself to the byte, and it says what it cannot do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from flax import nnx
from rasterio.crs import CRS

from geounet.cli import run
from geounet.errors import InputError, InterruptedJobError, OutputError, SettingsError
from geounet.job import open_job
from geounet.learn import metrics
from geounet.learn.identity import held_out_by
from geounet.learn.learner import Scaling
from geounet.learn.records import Events, read_records, write_config
from geounet.learn.train_settings import (
    AugmentSettings,
    TrainSettings,
    load_settings,
    to_yaml,
    with_root,
)
from geounet.learn.training import confusions, train
from geounet.learn.training_data import load_training_data
from geounet.model_file import load_model
from geounet.unet import UNet
from tests.listener import Listener

CRS_OF_ALL = CRS.from_epsg(32633)
CONFIG = {
    "name": "tiny",
    "classes": [
        {"value": 0, "name": "land", "colour": "#d8cfb4"},
        {"value": 1, "name": "water", "colour": "#1f78b4"},
    ],
    "data": {
        "root": ".",
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"green": 1, "swir1": 2},
        "scale": 0.0001,
        "ignore": [9],
        "table": "places.csv",
        "validation": {"column": "place", "values": ["p0"]},
    },
    "network": {"depth": 1, "base_filters": 4, "dropout": 0.1},
    "augment": {"zoom": [0.8, 1.25], "gain": 0.1, "haze": 0.01, "noise": 0.002},
    "optimiser": {"kind": "adamw", "learning_rate": 0.02, "ema": 0.9},
    "chip": 16,
    "batch": 4,
    "epochs": 4,
}


def write(path, array, **profile):
    """Scenes lie side by side, as their names count."""
    path.parent.mkdir(exist_ok=True)
    east = 331_015 + 3000 * int(path.stem)
    place = {"crs": CRS_OF_ALL, "transform": Affine(30, 0, east, 0, -30, 5_822_045)}
    count, height, width = array.shape
    fields = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", dtype=array.dtype, **fields, **place, **profile) as file:
        file.write(array)


def make_set(root: Path, **changes) -> Path:
    """Ten scenes of odd size: water where green is brighter than swir1, some of it unlabelled.

    Returns the config of a training on them, changed in these fields.
    """
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(4)
    for n in range(10):
        blocks = rng.integers(0, 2, (5, 4))
        water = np.kron(blocks, np.ones((4, 5), int))[:19, :]
        green = np.where(water, 900, 700) + rng.normal(0, 60, water.shape)
        swir = np.where(water, 200, 2400) + rng.normal(0, 90, water.shape)
        bands = np.stack([green, swir]).astype(np.int16)
        bands[:, 0, 1] = -999
        labels = water.astype(np.uint8)[None]
        labels[:, 7, 7] = 9
        write(root / f"images/{n}.tif", bands, nodata=-999)
        write(root / f"labels/{n}.tif", labels)
    rows = "".join(f"{n},p{n % 5}\n" for n in range(10))
    (root / "places.csv").write_text(f"id,place\n{rows}")
    (root / "config.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    return root / "config.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The set that all trainings of this file learn from."""
    return make_set(tmp_path_factory.mktemp("set")).parent


@pytest.fixture(scope="module")
def settings(folder):
    return load_settings(folder / "config.yaml")


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    listener = Listener()
    return train(settings, out, reporter=listener), listener, out


def changed(settings, **fields) -> TrainSettings:
    return settings.model_copy(update=fields)


def test_it_learns_what_the_labels_show(trained):
    result, _, _ = trained
    assert result.epochs[-1]["loss"] < 0.7 * result.epochs[0]["loss"]
    assert result.epochs[-1]["iou"]["water"] > 0.9
    hits, total = np.trace(result.confusion), result.confusion.sum()
    assert hits / total > 0.9
    shape = slice(0, 19), slice(0, 20)
    assert result.card.held_out == held_out_by({"0": [shape], "5": [shape]})
    assert result.card.accuracy["IoU water"].endswith("on validation chips of training")


@pytest.mark.slow
def test_a_validation_that_is_all_right_leaves_the_temperature_at_1(tmp_path):
    settings, listener = load_settings(make_set(tmp_path / "set")), Listener()
    for n in (0, 5):
        with rasterio.open(tmp_path / f"set/labels/{n}.tif", "r+") as file:
            labels = file.read()
            # Only pixels well within a block of one class are left.
            inside = labels[:, 2:-2:4, 2:-2:5].copy()
            labels[:] = 9
            labels[:, 2:-2:4, 2:-2:5] = inside
            file.write(labels)
    result = train(settings, tmp_path / "out", reporter=listener)
    assert result.card.temperature == 1
    assert "these labels do not tell how sure to be" in listener.notes[-1]


def test_the_folder_holds_model_metrics_and_settings(trained, settings):
    result, listener, out = trained
    names = {p.name for p in out.iterdir()}
    assert names >= {"config.yaml", "metrics.jsonl", "model.safetensors", "report.html"}
    assert not any(name.startswith(".") for name in names)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines == listener.records == list(result.epochs)
    assert [line["epoch"] for line in lines] == list(range(1, settings.epochs + 1))
    for key in ("loss", "learning_rate", "seconds", "samples_per_second", "iou"):
        assert all(key in line for line in lines)
    assert load_settings(out / "config.yaml") == settings


def test_the_model_file_is_the_network_that_was_measured(trained, settings):
    result, _, _ = trained
    model = load_model(result.model)
    assert model.card == result.card
    assert model.card.bands == ("green", "swir1")
    assert model.card.architecture.outputs == 1
    held = load_training_data(settings).validation
    assert len(held) == 2 * 2 * 2
    scaling = Scaling(jnp.float32(model.card.mean), jnp.float32(model.card.std))
    again = confusions(model.network, scaling, held, 2)
    assert again.shape == (len(held), 2, 2)
    # float16 weights may tip a pixel that was on the edge.
    assert np.abs(again.sum(axis=0) - result.confusion).max() <= 0.01 * result.confusion.sum()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    trained, settings, tmp_path_factory
):
    result, _, _ = trained
    again = train(settings, tmp_path_factory.mktemp("again"))
    other = train(changed(settings, seed=1), tmp_path_factory.mktemp("other"))
    assert again.model.read_bytes() == result.model.read_bytes()
    assert other.model.read_bytes() != result.model.read_bytes()


def test_mean_and_std_come_from_the_training_pixels_alone(trained, folder):
    result, _, _ = trained
    numbers = []
    for n in range(10):
        if n % 5:
            with rasterio.open(folder / f"images/{n}.tif") as file:
                pixels = file.read().reshape(2, -1)
            numbers.append(pixels[:, pixels[0] != -999])
    values = np.concatenate(numbers, axis=1) * 1e-4
    np.testing.assert_allclose(result.card.mean, values.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(result.card.std, values.std(axis=1), rtol=1e-5)


def test_pixels_without_data_are_not_scored(settings):
    validation = load_training_data(settings).validation
    samples = [validation[0]]
    network = UNet(settings.architecture, nnx.Rngs(0))
    network.eval()
    matrices = confusions(network, Scaling(jnp.zeros(2), jnp.ones(2)), samples, 2)
    # One pixel has no data, one no label.
    assert matrices.sum() == 16 * 16 - 2


def test_three_classes_train_on_all_samples_without_validation(settings, folder, tmp_path):
    third = {"value": 9, "name": "unsure", "colour": "#777777"}
    data = CONFIG["data"] | {"ignore": [], "validation": None}
    fields = CONFIG | {"classes": [*CONFIG["classes"], third], "data": data, "epochs": 1}
    fields["augment"] = {"symmetries": False}
    three = with_root(TrainSettings.model_validate(fields), folder)
    result = train(three, tmp_path / "out")
    assert result.card.architecture.outputs == 3
    assert result.confusion is None
    assert "iou" not in result.epochs[0]


def test_a_folder_that_holds_something_is_refused_and_kept(settings, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty; choose another"):
        train(settings, tmp_path)
    train(settings, tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / ".geounet").exists()
    with pytest.raises(OutputError, match="is a file"):
        train(settings, tmp_path / "notes.txt")
    with pytest.raises(OutputError, match=r"notes\.txt/run: not a folder that can be written"):
        train(settings, tmp_path / "notes.txt/run")


def test_a_loss_that_is_no_number_stops_the_run_before_a_model_is_written(settings, tmp_path):
    wild = settings.optimiser.model_copy(
        update={"learning_rate": 1e38, "warmup_epochs": 0, "clip_norm": 1e30}
    )
    run = changed(settings, optimiser=wild, augment=AugmentSettings(symmetries=False))
    with pytest.raises(SettingsError, match=r"epoch .*lower optimiser\.learning_rate"):
        train(run, tmp_path / "out")
    assert not (tmp_path / "out/model.safetensors").exists()


def signal_at(step, number):
    """A reporter that sends this process a signal after so many steps."""
    return Listener(
        lambda told: os.kill(os.getpid(), number) if len(told.figures) == step else None
    )


@pytest.fixture(scope="module")
def stopped(settings, tmp_path_factory):
    """A folder whose training a signal stopped in the midst of its second epoch."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.raises(InterruptedJobError, match="epoch 2, after 2 of its") as caught:
        train(settings, out, reporter=signal_at(10, signal.SIGTERM))
    assert caught.value.exit_code == 143
    return out


def copied(folder, target):
    shutil.copytree(folder, target)
    return target


def test_a_stopped_training_resumes_to_the_same_bytes(trained, stopped, settings, tmp_path):
    out = copied(stopped, tmp_path / "out")
    assert not (out / "model.safetensors").exists()
    result = train(settings, out, resume=True)
    assert result.model.read_bytes() == trained[0].model.read_bytes()
    assert result.card == trained[0].card
    np.testing.assert_array_equal(result.confusion, trained[0].confusion)
    assert not (out / ".geounet").exists()


def test_an_unfinished_training_is_neither_overwritten_nor_forgotten(stopped, settings, tmp_path):
    out = copied(stopped, tmp_path / "out")
    with pytest.raises(OutputError, match="unfinished training; go on with --resume, or start"):
        train(settings, out)
    with pytest.raises(SettingsError, match=r"cannot resume, seed was 0 and is now 3"):
        train(changed(settings, seed=3), out, resume=True)
    assert load_settings(out / "config.yaml").seed == 0
    with open_job(out, ()):
        pass
    assert list((out / ".geounet/training/last").glob("*.sha256"))


def test_overwriting_starts_anew(trained, stopped, settings, tmp_path):
    out, listener = copied(stopped, tmp_path / "out"), Listener()
    result = train(settings, out, reporter=listener, overwrite=True)
    assert [done for _, _, done in listener.stages] == [0, 4 * 16**2]
    assert result.model.read_bytes() == trained[0].model.read_bytes()


def test_a_config_in_the_folder_to_empty_is_refused_and_stays(folder, tmp_path, capsys):
    own = tmp_path / "own"
    own.mkdir()
    text = f"# mine\n{(folder / 'config.yaml').read_text()}"
    (own / "config.yaml").write_text(text)
    for name in (own / "config.yaml", tmp_path / "own/../own/config.yaml"):
        assert run(["train", str(name), str(own), "--data", str(folder), "--overwrite"]) == 2
        assert "lies in the folder that --overwrite empties; move it out" in capsys.readouterr().err
    assert [path.name for path in own.iterdir()] == ["config.yaml"]
    assert (own / "config.yaml").read_text() == text


def test_a_finished_training_resumes_from_its_own_config(trained, tmp_path, capsys):
    out = copied(trained[2], tmp_path / "out")
    assert run(["train", str(out / "config.yaml"), str(out), "--resume"]) == 0
    assert "nothing to resume" in capsys.readouterr().err


def test_resuming_what_is_finished_changes_nothing(trained, settings, tmp_path):
    out, listener = copied(trained[2], tmp_path / "out"), Listener()
    result = train(settings, out, reporter=listener, resume=True)
    assert "is finished already, nothing to resume" in listener.notes[-1]
    assert not listener.stages
    assert result.card == trained[0].card
    assert result.epochs == trained[0].epochs
    np.testing.assert_array_equal(result.confusion, trained[0].confusion)
    with pytest.raises(SettingsError, match=r"cannot resume, epochs was 4 and is now 5"):
        train(changed(settings, epochs=5), out, resume=True)


def test_resuming_where_no_training_was_is_refused(settings, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no training to resume"):
        train(settings, tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_link_in_place_of_the_checkpoints_is_refused(settings, tmp_path):
    (tmp_path / "out/.geounet").mkdir(parents=True)
    (tmp_path / "out/.geounet/training").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="training: is a link, and could lead anywhere"):
        train(settings, tmp_path / "out", resume=True)


def test_an_epoch_chosen_on_validation_is_said_on_the_card(settings, tmp_path):
    result = train(changed(settings, keep="best"), tmp_path / "out")
    assert "too good by that choice" in result.card.accuracy["IoU water"]
    best = max(record["macro_iou"] for record in result.epochs)
    assert metrics.iou(result.confusion).mean() == pytest.approx(best, abs=1e-6)


def test_tensorboard_that_is_not_installed_is_said_first(settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(SettingsError, match=r"pip install geounet\[tensorboard\]"):
        train(changed(settings, tensorboard=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_event_files_hold_every_number_once_also_after_a_resume(tmp_path):
    pytest.importorskip("tensorboardX")
    records = [
        {"epoch": n, "loss": 0.5 / n, "iou": {"land": 0.5, "water": None}, "confusion": [[1]]}
        for n in (1, 2, 3)
    ]
    first = Events(tmp_path)
    for record in records:
        first.add(record)
    first.close()
    again = Events(tmp_path, records[:2])
    again.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    data = file.read_bytes()
    assert data.count(b"iou/land") == data.count(b"loss") == 2
    assert b"water" not in data


def test_records_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: no records of a training"):
        read_records(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.jsonl: no records of a training"):
        read_records(tmp_path)


def test_the_command_takes_one_of_overwrite_and_resume(folder, tmp_path, capsys):
    words = ["train", str(folder / "config.yaml"), str(tmp_path / "out"), "--overwrite", "--resume"]
    assert run(words) == 2
    assert "choose one: --overwrite starts anew, --resume goes on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def command(folder, out, *flags):
    words = [sys.executable, "-m", "geounet.cli", "train", str(folder / "often.yaml"), str(out)]
    pipe = subprocess.PIPE
    return subprocess.Popen([*words, *flags], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_command_that_was_ended_resumes_to_the_same_bytes(
    number, code, folder, trained, tmp_path
):
    """20 batches, of which some 10 before the signal: the model is that of one run, to the byte."""
    (folder / "often.yaml").write_text(yaml.safe_dump(CONFIG | {"checkpoint_minutes": 0}))
    out = tmp_path / "out"
    process = command(folder, out)
    checkpoints = out / ".geounet/training/last"
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("1[0-9]*.sha256")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert not (out / "model.safetensors").exists()
    if code > 0:
        assert "--resume to go on" in errors
    process = command(folder, out, "--resume", "--quiet")
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert printed == errors == ""
    assert (out / "model.safetensors").read_bytes() == trained[0].model.read_bytes()


def test_what_no_card_can_hold_is_refused_before_the_folder_is_made(settings, tmp_path):
    data = settings.data.model_copy(update={"bands": {"b" * 201: 1, "swir1": 2}})
    with pytest.raises(SettingsError, match=r"card cannot hold bands\.0: .* at most 200"):
        train(changed(settings, data=data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_weights_that_do_not_fit_the_classes_leave_the_folder_as_it_is(
    settings, overwrite, tmp_path
):
    (tmp_path / "config.yaml").write_text("mine")
    loss = settings.loss.model_copy(update={"class_weights": (1.0, 2.0, 3.0)})
    with pytest.raises(SettingsError, match="3 weights for 2 classes"):
        train(changed(settings, loss=loss), tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_a_training_that_diverged_names_the_rate_and_leaves_no_model(settings, tmp_path):
    wild = {"kind": "sgd", "learning_rate": 1000, "clip_norm": None, "warmup_epochs": 0}
    optimiser = settings.optimiser.model_copy(update=wild)
    with pytest.raises(
        SettingsError, match=r"^optimiser\.learning_rate: 1000 is too high.* outgrew float16; lower"
    ):
        train(changed(settings, optimiser=optimiser, epochs=1), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_bad_labels_are_refused_before_the_folder_is_made(settings, tmp_path):
    data = settings.data.model_copy(update={"ignore": ()})
    with pytest.raises(InputError, match="no class: 9"):
        train(changed(settings, data=data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("- a list", "holds no named values; a config of a training"),
        ("name: [", "is not YAML"),
        ("name: tiny", "classes: Field required"),
        (yaml.safe_dump(CONFIG | {"epoch": 3}), "epoch: unknown; did you mean epochs"),
        (
            yaml.safe_dump(CONFIG | {"chip": 17}),
            "chip 17 must be a multiple of 2 for depth 1; the next size is 18",
        ),
        (yaml.safe_dump(CONFIG | {"epochs": 0}), "epochs: Input should be greater"),
        (
            yaml.safe_dump(CONFIG | {"classes": CONFIG["classes"][:1] * 2}),
            "two classes have the same value",
        ),
        (
            yaml.safe_dump(
                CONFIG | {"classes": [c | {"name": "water"} for c in CONFIG["classes"]]}
            ),
            "two classes have the same name",
        ),
        (
            yaml.safe_dump(CONFIG | {"data": CONFIG["data"] | {"ignore": [1]}}),
            "label 1 is a class and ignored",
        ),
        ("name: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_a_config_that_cannot_hold_is_refused_with_file_and_field(tmp_path, text, cause):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=rf"bad\.yaml: .*{cause}"):
        load_settings(path)


def test_a_missing_config_is_an_input_that_is_named(tmp_path, capsys):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        load_settings(tmp_path / "none.yaml")
    assert run(["train", str(tmp_path / "none.yaml"), str(tmp_path / "out")]) == 3
    assert "none.yaml: cannot be read: No such file" in capsys.readouterr().err


def test_the_root_is_relative_to_the_file_unless_given(folder, tmp_path):
    assert load_settings(folder / "config.yaml").data.root == folder
    assert load_settings(folder / "config.yaml", tmp_path).data.root == tmp_path


def test_the_config_that_is_kept_finds_the_data_from_its_own_folder(
    settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    write_config(tmp_path / "out", with_root(settings, Path("data")))
    assert load_settings(tmp_path / "out/config.yaml").data.root == tmp_path / "data"


def test_settings_written_out_are_read_back_the_same(settings, tmp_path):
    (tmp_path / "c.yaml").write_text(to_yaml(settings))
    assert load_settings(tmp_path / "c.yaml") == settings
