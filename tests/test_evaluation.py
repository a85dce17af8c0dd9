"""An evaluation by tiles against the same scene in memory, mapped and compared at once."""

from __future__ import annotations

import csv
import json
import signal

import numpy as np
import pytest

from geounet.card import LandClass
from geounet.errors import InputError, InterruptedJobError, ModelError, OutputError, SettingsError
from geounet.fit import fit
from geounet.grid import round_up
from geounet.learn.boundary import boundary_counts, boundary_f1
from geounet.learn.calibration import BINS, WHOLE, fit_temperature
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.learn.evaluation import evaluate
from geounet.learn.identity import held_out_by
from geounet.learn.labelled import open_labelled
from geounet.learn.splits import grounds_of
from geounet.learn.train_settings import TrainSettings, to_yaml
from geounet.model_file import load_model, save_with_card
from geounet.predict import Predictor
from geounet.reporting import Silence
from tests.jobs import GRIDS, make_model, make_scene
from tests.labelled_scenes import put
from tests.listener import Listener
from tests.made_scenes import write
from tests.nets import architecture, card_of

CLASSES = card_of(architecture()).classes
SHAPES = {"east": (75, 61), "north": (75, 61), "west": (40, 37)}
PLACES = {"east": "plain", "north": "hill", "west": "plain"}
WINDOW = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "made.safetensors", depth=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three georeferenced scenes with labels of blocks, some unknown or ignored, and a table."""
    root = tmp_path_factory.mktemp("data")
    for k, (name, shape) in enumerate(SHAPES.items()):
        make_scene(root / "images" / f"{name}.tif", shape, seed=10 * k)
        write(root / "labels" / f"{name}.tif", labels(shape, k)[None], nodata=255, **same_place())
    lines = [f"{name},{place}" for name, place in PLACES.items()]
    (root / "table.csv").write_text("\n".join(["id,place", *lines, ""]))
    return root


def same_place():
    transform, crs = GRIDS["north-up"]
    return {"transform": transform, "crs": crs}


def labels(shape, seed):
    """Class values 0, 3, 6 in blocks; 7 is ignored and 255 is unlabelled."""
    rng = np.random.default_rng(seed)
    blocks = rng.choice([0, 3, 6], (-(-shape[0] // 8), -(-shape[1] // 8)), p=[0.5, 0.2, 0.3])
    values = blocks.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]].astype(np.uint8)
    values[5:12, 20:30], values[-6:, :4] = 7, 255
    return values


def config(root, classes=CLASSES, **data):
    fields = {
        "root": root,
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"red": 3, "green": 2, "blue": 1},
        "scale": 1e-4,
        "ignore": [7],
        "table": "table.csv",
    }
    return TrainSettings(
        name="made",
        classes=classes,
        chip=16,
        network={"depth": 1, "base_filters": 4},
        data=fields | data,
    )


def options(**changes):
    return EvaluateSettings(**{"window": WINDOW, "draws": 200, **changes})


@pytest.fixture(scope="module")
def found(model, data, tmp_path_factory):
    """An evaluation of everything, by place."""
    out = tmp_path_factory.mktemp("found")
    return evaluate(model, config(data), out, options(group="place"))


def in_memory(model, settings, wanted=None, tta=False):
    """By scene: truth, mapped and confidence of the whole scene at once, and its logits."""
    loaded = load_model(model)
    for scene in open_labelled(settings.data, loaded.card.classes):
        fitted = fit(scene.scene, loaded.card)
        rows, cols = scene.grid.shape
        window = tuple(slice(0, round_up(n, 2)) for n in (rows, cols))
        pixels = fitted.scene.read(window)
        forward = Predictor(loaded.network, loaded.card, fitted.scale, fitted.offset, tta=tta)
        logits = forward.logits(pixels.bands, pixels.valid)[:rows, :cols]
        shares = np.asarray(forward.probabilities(logits))
        truth = scene.labels(scene.grid.whole).copy()
        truth[~pixels.valid[:rows, :cols]] = 255
        if wanted is not None:
            truth[~wanted(scene)] = 255
        yield scene.name, truth, shares.argmax(-1).astype(np.uint8), shares.max(-1), logits


def expect(counts, truth, mapped, confidence, tolerance=2.0):
    """Counts against loops over the pixels that are labelled and have data."""
    known = truth != 255
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth[known], mapped[known]), 1)
    np.testing.assert_array_equal(counts["confusion"], confusion)
    whole = tuple(slice(0, n) for n in truth.shape)
    outlines = boundary_counts(truth, mapped, 3, tolerance, whole)
    np.testing.assert_array_equal(counts["boundary"], outlines)
    bins = np.ceil(confidence[known] * BINS).astype(int) - 1
    right = (truth == mapped)[known]
    for k in range(BINS):
        pixels, hits, total = counts["reliability"][k]
        # Rounding may move a pixel whose confidence is a bin's end.
        assert abs(pixels - (bins == k).sum()) <= 2
        assert abs(hits - right[bins == k].sum()) <= 2
        assert total / WHOLE == pytest.approx(confidence[known][bins == k].sum(), abs=2)
    assert counts["reliability"][:, 0].sum() == known.sum()


@pytest.mark.parametrize("tta", [False, True])
def test_tiles_count_what_the_whole_scene_counts(model, data, found, tmp_path, tta):
    settings = config(data)
    if tta:
        found = evaluate(model, settings, tmp_path, options(tta=True))
    assert found.part == "all"
    for name, truth, mapped, confidence, _ in in_memory(model, settings, tta=tta):
        expect(found.scenes[name], truth, mapped, confidence)
        assert truth[truth != 255].size < truth.size * 0.98
    assert list(found.scenes) == sorted(SHAPES)


def test_pixels_with_labels_but_no_data_are_told(data, found):
    settings = config(data)
    whole = {s.name: s for s in open_labelled(settings.data, CLASSES)}
    for name, counts in found.scenes.items():
        scene = whole[name]
        missed = ~scene.scene.read(scene.grid.whole).valid
        expected = (missed & (scene.labels(scene.grid.whole) != 255)).sum()
        assert counts["unseen"] == expected > 0


def test_another_window_and_tolerance_give_the_counts_of_the_whole_scene_too(
    model, data, found, tmp_path
):
    settings = config(data)
    other = evaluate(model, settings, tmp_path, options(window=64, tolerance=3.6))
    np.testing.assert_array_equal(found.total["confusion"], other.total["confusion"])
    for name, truth, mapped, confidence, _ in in_memory(model, settings):
        expect(other.scenes[name], truth, mapped, confidence, tolerance=3.6)


def test_the_same_evaluation_gives_the_same_bytes(model, data, found, tmp_path):
    evaluate(model, config(data), tmp_path, options(group="place"))
    for path in found.files:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


BLOCKS = {"blocks": {"size": 16, "share": 0.3}}


@pytest.mark.parametrize("split", [{"column": "place", "values": ["hill"]}, BLOCKS])
def test_the_validation_part_is_what_the_config_holds_out(model, data, tmp_path, split):
    settings = config(data, validation=split)
    scenes = open_labelled(settings.data, CLASSES)
    grounds = dict(zip((s.name for s in scenes), grounds_of(scenes, settings), strict=True))
    found = evaluate(model, settings, tmp_path, options())
    assert found.part == "validation"

    def wanted(scene):
        return grounds[scene.name].held_out(scene.grid.whole)

    for name, truth, mapped, confidence, _ in in_memory(model, settings, wanted):
        if (truth != 255).any():
            expect(found.scenes[name], truth, mapped, confidence)
        else:
            assert name not in found.scenes


def test_training_and_validation_share_no_pixel_and_are_all(model, data, found, tmp_path):
    settings = config(data, validation={"column": "place", "values": ["hill"]})
    parts = [
        evaluate(model, settings, tmp_path / part, options(split=part)).total["confusion"]
        for part in ("training", "validation")
    ]
    np.testing.assert_array_equal(parts[0] + parts[1], found.total["confusion"])


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Patches without a place on Earth, of odd sides, with PNG labels."""
    root = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    for k in range(4):
        bands = rng.integers(0, 3000, (3, 21, 27)).astype(np.uint16)
        put(root / f"images/p{k}.tif", bands, crs=None)
        truth = labels((21, 32), k)[:, :27]
        put(root / f"labels/p{k}.png", truth[None], crs=None, driver="PNG")
    return root


def test_patches_without_georeference(model, patches, tmp_path):
    settings = config(patches, labels="labels/*.png", table=None, label_nodata=255)
    found = evaluate(model, settings, tmp_path, options())
    assert len(found.scenes) == 4
    for name, truth, mapped, confidence, _ in in_memory(model, settings):
        expect(found.scenes[name], truth, mapped, confidence)


def test_the_report_has_scores_with_intervals_by_group(found):
    out = found.files[0].parent
    report = json.loads((out / "evaluation.json").read_text())
    assert report == json.loads(json.dumps(found.report))
    assert set(report["groups"]) == {"plain", "hill"} == set(found.groups)
    assert report["intervals"]["groups"] == 2
    total = found.total["confusion"]
    assert report["confusion"]["counts"] == total.tolist()
    for k, row in enumerate(report["classes"]):
        hits = total[k, k]
        either = total[k].sum() + total[:, k].sum() - hits
        assert row["iou"]["value"] == pytest.approx(hits / either, abs=1e-6)
        assert row["iou"]["low"] <= row["iou"]["value"] <= row["iou"]["high"]
        assert row["boundary_f1"]["value"] == pytest.approx(
            boundary_f1(found.total["boundary"])[k], abs=1e-6
        )
        assert (row["value"], row["name"]) == (CLASSES[k].value, CLASSES[k].name)
    overall = report["overall"]
    assert overall["accuracy"]["value"] == pytest.approx(total.trace() / total.sum(), abs=1e-6)
    ious = [row["iou"]["value"] for row in report["classes"]]
    assert overall["macro_iou"]["value"] == pytest.approx(np.mean(ious), abs=1e-5)
    with (out / "scenes.csv").open() as file:
        rows = {row["scene"]: row for row in csv.DictReader(file)}
    assert {name: row["group"] for name, row in rows.items()} == PLACES
    assert int(rows["east"]["pixels"]) == found.scenes["east"]["confusion"].sum()


def test_the_fitted_temperature_is_in_a_new_model_and_its_confidence_is_tempered(
    model, data, tmp_path
):
    settings, target = config(data), tmp_path / "tempered.safetensors"
    before = evaluate(model, settings, tmp_path / "a", options(fit_temperature=target))
    parts = ((logits, truth) for _, truth, _, _, logits in in_memory(model, settings))
    assert before.temperature == pytest.approx(fit_temperature(parts), rel=1e-3)
    assert before.temperature > 1.5
    card = load_model(target).card
    assert card.temperature == before.temperature
    assert card.sha256 != load_model(model).card.sha256
    after = evaluate(target, settings, tmp_path / "b", options())
    np.testing.assert_array_equal(before.total["confusion"], after.total["confusion"])
    errors = [e.report["overall"]["expected_calibration_error"]["value"] for e in (before, after)]
    assert errors[1] < errors[0]
    figures = before.report["fitted_temperature"]
    assert figures["nats_per_pixel_about"] < figures["nats_per_pixel_at_1"]


def test_labels_that_are_all_mapped_right_leave_the_temperature(model, tmp_path):
    make_scene(tmp_path / "images/east.tif", SHAPES["east"])
    blank = np.zeros(SHAPES["east"], np.uint8)
    write(tmp_path / "labels/east.tif", blank[None], **same_place())
    settings, calibrated = config(tmp_path, table=None), tmp_path / "calibrated.safetensors"
    ((_, _, mapped, _, _),) = in_memory(model, settings)
    write(tmp_path / "labels/east.tif", np.uint8([0, 3, 6])[mapped][None], **same_place())
    save_with_card(model, calibrated, load_model(model).card.model_copy(update={"temperature": 2}))
    for source, kept in ((model, 1), (calibrated, 2)):
        target, listener = tmp_path / f"{kept}.safetensors", Listener()
        asked = options(fit_temperature=target)
        found = evaluate(source, settings, tmp_path / f"out{kept}", asked, listener)
        assert "do not tell how sure to be" in listener.notes[-1]
        assert f"it stays {kept}: hold out more or harder ground" in listener.notes[-1]
        assert found.report["notes"][-1] == listener.notes[-1]
        assert found.report["fitted_temperature"] is None
        assert load_model(target).card.temperature == kept


def test_classes_may_stand_in_another_order(model, data, found, tmp_path):
    turned = evaluate(model, config(data, CLASSES[::-1]), tmp_path, options())
    np.testing.assert_array_equal(found.total["confusion"], turned.total["confusion"])


def test_classes_that_differ_are_named(model, data, tmp_path):
    other = (*CLASSES[:2], LandClass(value=6, name="moss", colour="#000000"))
    with pytest.raises(ModelError, match="the config lacks class 6 class 2"):
        evaluate(model, config(data, other), tmp_path, options())
    more = (*CLASSES, LandClass(value=9, name="moss", colour="#000000"))
    with pytest.raises(ModelError, match="the model lacks class 9 moss"):
        evaluate(model, config(data, more), tmp_path, options())


def test_bands_that_the_config_lacks_are_named(model, data, tmp_path):
    settings = config(data, bands={"red": 3, "blue": 1})
    with pytest.raises(ModelError, match=r"takes band green, which data\.bands .* lacks"):
        evaluate(model, settings, tmp_path, options())


def test_a_split_that_the_config_lacks_is_refused(model, data, tmp_path):
    with pytest.raises(SettingsError, match=r"--split validation: the config has no"):
        evaluate(model, config(data), tmp_path, options(split="validation"))


def test_a_column_that_the_table_lacks_is_refused(model, data, tmp_path):
    with pytest.raises(SettingsError, match=r"--group land: not a column .* id, place"):
        evaluate(model, config(data), tmp_path, options(group="land"))


def test_a_split_without_labels_is_refused(model, tmp_path):
    make_scene(tmp_path / "images" / "a.tif", (30, 40))
    blank = np.full((1, 30, 40), 7, np.uint8)
    write(tmp_path / "labels" / "a.tif", blank, nodata=255, **same_place())
    with pytest.raises(InputError, match="the all part has no labelled pixel with data"):
        evaluate(model, config(tmp_path, table=None), tmp_path / "out", options())
    assert not (tmp_path / "out").exists()


def test_label_values_that_are_no_class_are_listed(model, data, tmp_path):
    with pytest.raises(InputError, match=r"labels that are no class: 7 \(210 pixels\)"):
        evaluate(model, config(data, ignore=[]), tmp_path, options())


def test_results_are_not_written_over(model, data, tmp_path):
    (tmp_path / "scenes.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"scenes\.csv: exists"):
        evaluate(model, config(data), tmp_path, options())
    with pytest.raises(OutputError, match="is a file; name a folder"):
        evaluate(model, config(data), tmp_path / "scenes.csv", options())
    evaluate(model, config(data), tmp_path, options(overwrite=True))
    assert (tmp_path / "scenes.csv").read_text().startswith("scene,group,pixels")


def test_a_new_model_is_a_safetensors_file():
    with pytest.raises(ValueError, match=r"name a \.safetensors file"):
        options(fit_temperature="model.pt")


def test_the_page_names_the_model_and_its_scores(found):
    page = (found.files[0].parent / "report.html").read_text()
    assert "Evaluation of drawn" in page
    assert "class 1" in page


def test_the_command_prints_a_table(model, data, tmp_path, capsys):
    from geounet.cli import run

    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config(data)))
    flags = ["--group", "place", "--window", str(WINDOW), "--draws", "200", "--progress", "none"]
    tokens = ["evaluate", str(model), str(path), str(tmp_path / "out"), "--data", str(data)]
    assert run([*tokens, *flags]) == 0
    said = capsys.readouterr()
    assert "boundary f1" in said.out
    assert "95 % intervals over 2 groups by place" in said.out
    assert run([*tokens, *flags]) == OutputError.exit_code
    assert "evaluation.json: exists" in capsys.readouterr().err


def test_each_note_is_told_once_in_the_words_of_a_config(model, data, tmp_path):
    found = evaluate(model, config(data, scale=None), tmp_path, options())
    (scaling,) = [note for note in found.notes if "scaling" in note]
    assert scaling.startswith("east and 2 more: no scaling is known for blue, green, red")
    assert scaling.endswith("state yours with data.scale and data.offset")
    assert len(found.notes) == len({note.partition(": ")[2] for note in found.notes})


def test_a_model_that_held_out_other_ground_is_told(model, data, tmp_path):
    held = {"north": [(slice(0, 75), slice(0, 61))]}
    card = load_model(model).card.model_copy(update={"held_out": held_out_by(held)})
    save_with_card(model, tmp_path / "split.safetensors", card)

    def doubts(k, *scenes):
        settings = config(data, validation={"scenes": scenes})
        found = evaluate(tmp_path / "split.safetensors", settings, tmp_path / str(k), options())
        return [note for note in found.notes if "held out other ground" in note]

    assert doubts(0, "north") == []
    assert len(doubts(1, "north", "west")) == 1


def test_one_group_has_no_interval(model, data, tmp_path, capsys):
    from geounet.cli import run

    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config(data, validation={"scenes": ["west"]})))
    tokens = ["evaluate", str(model), str(path), str(tmp_path / "out"), "--window", str(WINDOW)]
    assert run([*tokens, "--progress", "none"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no interval: one scene only" in said
    assert "95 %" not in said


def test_a_window_without_room_for_the_margin_is_refused(model, data, tmp_path):
    with pytest.raises(SettingsError, match="--window 20 does not fit this model"):
        evaluate(model, config(data), tmp_path, options(window=20))


def test_an_interrupted_evaluation_writes_nothing(model, data, tmp_path):
    class Impatient(Silence):
        asked = False

        def advance(self, pixels):
            # A second signal would end this process at once.
            if not self.asked:
                self.asked = True
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(InterruptedJobError, match="was stopped, and nothing is written") as caught:
        evaluate(model, config(data), tmp_path / "out", options(), Impatient())
    assert caught.value.exit_code == 130
    assert not (tmp_path / "out").exists()
