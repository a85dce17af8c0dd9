"""Reports of a training: whole, offline, escaped; pictures that show what the numbers say."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geounet import page
from geounet.card import NODATA, LandClass
from geounet.errors import OutputError
from geounet.learn.evaluation_page import evaluation_page
from geounet.learn.learner import Scaling
from geounet.learn.plot_style import apart, compact, on_white, percent
from geounet.learn.plots import draw_confusion, draw_curves, draw_reliability
from geounet.learn.report_page import Training, best_epoch, write_training_report
from geounet.learn.report_parts import in_line
from geounet.learn.sample_plot import Example, draw_examples, pick_examples, seen
from geounet.learn.train_settings import TrainSettings
from geounet.learn.training_report import examples_of, parameter_count
from geounet.style import default_colour, rgb
from tests.nets import architecture, card_of, random_net

EVIL = '<script>alert("1")</script> & $x^2$'
VOID = {"meta", "img"}


def classes_of(count):
    return tuple(
        LandClass(value=2 * k, name=f"class {k}", colour=default_colour(k)) for k in range(count)
    )


def records_of(epochs, classes):
    for epoch in range(epochs):
        iou = {c.name: 0.5 + 0.4 * epoch / epochs - 0.01 * k for k, c in enumerate(classes)}
        yield {
            "epoch": epoch + 1,
            "loss": 1 / (epoch + 1),
            "iou": iou | {classes[0].name: None if epoch == 0 else 0.9},
            "macro_iou": iou[classes[-1].name],
            "learning_rate": 1e-3,
            "seconds": 61.0,
            "samples_per_second": 9.5,
            "waited": 0.02,
            "skipped": 1,
        }


def example(rows=20, cols=33, wrong=40, classes=3):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, (rows, cols)).astype(np.uint8)
    predicted = labels.copy()
    predicted.ravel()[:wrong] = (predicted.ravel()[:wrong] + 1) % classes
    image = rng.random((rows, cols, 4)).astype(np.float32)
    image[-4:] = np.nan
    predicted[-4:] = NODATA
    labels[:, -2:] = NODATA
    return Example(image, labels, predicted)


def made(**changes):
    classes = classes_of(3)
    data = {"images": "i/*.tif", "labels": "l/*.tif", "bands": {"red": 1, "nir": 2}}
    settings = TrainSettings(
        name="made", summary=EVIL, classes=classes, data=data, epochs=4, chip=32
    )
    arch = architecture(bands=2, outputs=3)
    card = card_of(arch, classes=classes, summary=EVIL, training_licence="CC BY 4.0")
    values = {
        "settings": settings,
        "card": card,
        "records": tuple(records_of(4, classes)),
        "confusion": np.array([[90, 10, 0], [5, 95, 0], [0, 0, 0]]),
        "examples": (example(), example(wrong=0)),
        "notes": (EVIL,),
        "parts": {"training": "812 chips"},
        "parameters": 123_456,
    }
    return Training(**{**values, **changes})


def pixels_of(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def has_colour(png, colour):
    return (pixels_of(png) == np.array(rgb(colour), np.uint8)).all(axis=-1).sum()


class Reader(HTMLParser):
    """Checks that elements close in their order, and gathers what the page points to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.images, self.headings = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        fields = dict(attrs)
        self.addresses += [fields[key] for key in ("src", "href", "action") if key in fields]
        assert tag != "script"
        assert not [name for name in fields if name.startswith("on")]
        if tag == "img":
            assert fields["alt"]
            self.images.append(fields["src"])
        if tag == "th":
            assert fields["scope"] in ("row", "col")
            self.headings += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


def test_a_training_leaves_pictures_and_a_page_that_holds_them(tmp_path):
    paths = write_training_report(tmp_path / "out", made())
    names = ["learning.png", "predictions.png", "confusion.png", "report.html"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    reader = read(paths[-1])
    pictures = [base64.b64decode(src.split(",", 1)[1]) for src in reader.images]
    assert pictures == [path.read_bytes() for path in paths[:-1]]


def test_the_page_opens_offline_and_escapes_what_it_is_given(tmp_path):
    path = write_training_report(tmp_path, made())[-1]
    reader = read(path)
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    text = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    assert reader.headings > 20


def test_the_page_says_what_was_trained_on_what_and_how_well(tmp_path):
    text = write_training_report(tmp_path, made())[-1].read_text(encoding="utf-8")
    for expected in (
        "123,456",
        "812 chips",
        "4 min 04 s",
        "4 of 4",
        "2.0 %",
        "CC BY 4.0",
        "reach",
        "class 2",
        "data.images",
        "i/*.tif",
        "0.900",
        "base_filters: 64",
        "jaxlib",
    ):
        assert expected in text, expected


def test_a_run_without_validation_or_records_has_a_page_all_the_same(tmp_path):
    bare = made(records=(), confusion=None, examples=(), notes=(), parts={})
    assert [path.name for path in write_training_report(tmp_path, bare)] == [
        "learning.png",
        "report.html",
    ]
    read(tmp_path / "report.html")


def test_a_record_may_lack_anything(tmp_path):
    odd = (
        {"epoch": 1, "loss": float("nan")},
        {"loss": 0.5, "iou": None},
        {"iou": {"class 1": 0.1}},
    )
    write_training_report(tmp_path, made(records=odd))
    assert best_epoch(odd) == 2
    assert best_epoch(odd[:2]) is None


def test_the_best_epoch_is_the_first_of_the_highest_macro_iou():
    records = [{"macro_iou": 0.3}, {"iou": {"a": 0.9, "b": 0.7}}, {"macro_iou": 0.8}, {}]
    assert best_epoch(records) == 1


def test_a_report_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"learning\.png: cannot be written"):
        write_training_report(tmp_path / "out", made())


def test_the_same_numbers_give_the_same_picture():
    classes = classes_of(3)
    once, again = (draw_curves(list(records_of(5, classes)), classes) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("count", [2, 9, 20])
def test_pictures_stay_readable_from_two_to_twenty_classes(count):
    classes = classes_of(count)
    records = list(records_of(3, classes))
    matrix = np.full((count, count), 3) + 1000 * np.eye(count, dtype=int)
    for png in (draw_curves(records, classes), draw_confusion(matrix, classes)):
        rows, cols, _ = pixels_of(png).shape
        assert 300 < rows < 2000
        assert 300 < cols < 2000


def test_sample_predictions_have_the_colours_of_their_classes_and_errors():
    classes = classes_of(2)
    right = draw_examples([example(wrong=0, classes=2)], classes, ("red", "nir"))
    wrong = draw_examples([example(wrong=300, classes=2)], classes, ("red", "nir"))
    for colour in (classes[0].colour, classes[1].colour):
        assert has_colour(right, colour) > 1000
    for colour in ("#d55e00", "#0072b2"):
        # ^ What is there without an error is the legend's.
        assert has_colour(wrong, colour) > has_colour(right, colour) + 1000


def test_images_are_stretched_together():
    classes = classes_of(2)
    bright, dark = (
        dataclasses.replace(example(classes=2), image=np.full((20, 33, 1), value, np.float32))
        for value in (0.9, 0.1)
    )
    panels = pixels_of(draw_examples([bright, dark], classes, ("pan",)))
    # One of the two images is black; stretched by itself, each would be.
    side = 2.3 * 150
    assert 0.9 < (panels == 0).all(axis=-1).sum() / (side**2 * 20 / 33) < 1.1


def test_examples_are_spread_over_the_ranking_from_the_worst():
    matrices = np.array([[[5, n], [n, 5]] for n in (4, 0, 9, 2, 7)])
    matrices = np.concatenate([matrices, np.zeros((1, 2, 2), int)])
    assert pick_examples(matrices, 3) == (2, 0, 1)
    assert pick_examples(matrices, 99) == (2, 4, 0, 3, 1)
    assert pick_examples(matrices[5:], 3) == ()


def test_the_image_shown_is_red_green_blue_where_there_are_such_bands():
    image = np.arange(4, dtype=np.float32) * np.ones((2, 3, 4), np.float32)
    assert seen(image, ("blue", "green", "red", "nir"))[0, 0].tolist() == [2, 1, 0]
    assert seen(image, ("a", "b", "c", "d"))[0, 0].tolist() == [0, 1, 2]
    assert seen(image[..., :2], ("red", "nir")).shape == (2, 3, 1)


def test_reliability_shows_what_the_bins_say():
    bins = [
        {"above": k / 5, "up_to": (k + 1) / 5, "pixels": 10, "confidence": k / 5 + 0.1}
        for k in range(2, 5)
    ]
    sure, unsure = ([b | {"accuracy": b["confidence"] - d} for b in bins] for d in (0.0, 0.3))
    assert draw_reliability(sure) != draw_reliability(unsure)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=25))
def test_labels_keep_apart_in_their_order_and_inside(heights):
    placed = np.array(apart(heights, 0.03, 0.0, 1.0))
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= 0.03 - 1e-9).all()
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9


@given(st.from_regex(r"#[0-9a-f]{6}", fullmatch=True))
def test_text_in_a_class_colour_reads_on_white(colour):
    parts = np.array(rgb(on_white(colour))) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.4


def test_numbers_in_few_characters():
    shares = [0.0, 0.001, 0.074, 0.995, 1.0]
    assert [percent(share) for share in shares] == ["0", "<1", "7", ">99", "100"]
    assert percent(0.0004, 1) == "<0.1"
    counts = [950, 9_960, 12_300, 999_990, 3_400_000]
    assert [compact(count) for count in counts] == ["950", "10 k", "12 k", "1.0 M", "3.4 M"]
    assert in_line({"a": 1, "b": [1, 2]}) == "a: 1, b: [1, 2]"


def test_what_utf8_cannot_hold_does_not_stop_a_page():
    assert b"a?b" in page.page("a\ud800b", "", [], "")


def test_the_text_of_a_page_contains_no_address():
    text = page.page("a", "b", [], "c").decode()
    assert not re.search(r"https?://", text)


def test_the_scores_shown_are_those_of_the_weights_that_are_kept(tmp_path):
    records = [{"epoch": k + 1, "macro_iou": s} for k, s in enumerate((0.812, 0.734))]
    text = write_training_report(tmp_path, made(records=records))[-1].read_text()
    assert "<dd>0.734</dd>" in text
    text = write_training_report(tmp_path, made(records=records, kept=1))[-1].read_text()
    assert "<dd>0.812</dd>" in text
    assert "<dd>epoch 1</dd>" in text


def test_the_examples_of_a_training_are_what_its_network_makes_of_the_chips():
    network = random_net(architecture(depth=1, base_filters=2, bands=2, outputs=3))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 8, 8, 2)).astype(np.float32)
    images[3, :2] = np.nan
    logits = np.asarray(network(jnp.nan_to_num(images)))
    chips = [
        (image, (logits[k].argmax(-1) + k % 2).astype(np.uint8) % 3)
        for k, image in enumerate(images)
    ]
    scaling = Scaling(jnp.zeros(2), jnp.ones(2))
    found = examples_of(network, scaling, chips, classes=3, count=9)
    assert len(found) == 5
    right = [(e.predicted == e.labels)[np.isfinite(e.image).all(-1)].mean() for e in found]
    assert right == [0, 0, 1, 1, 1]
    hidden = next(e for e in found if np.isnan(e.image).any())
    assert (hidden.predicted[:2] == NODATA).all()
    assert examples_of(network, scaling, [], classes=3) == ()


def test_the_parameters_of_a_network_are_counted():
    arch = architecture(depth=1, base_filters=2, bands=2, outputs=3)
    assert parameter_count(random_net(arch)) == 38 + 38 + 76 + 148 + 34 + 74 + 38 + 9


def evaluated(groups=3):
    measure = {"value": 0.871, "low": 0.842, "high": 0.899}
    alone = {"value": 0.5, "low": None, "high": None}
    scores = dict.fromkeys(("iou", "f1", "precision", "recall"), measure) | {"boundary_f1": alone}
    rows = {f"place {k} {EVIL}": {"pixels": 10 * k, "macro_iou": k / 10} for k in range(groups)}
    return {
        "split": "validation",
        "pixels": 12_345,
        "overall": {"macro_iou": measure, "expected_calibration_error": alone},
        "classes": [
            {"value": 2 * k, "name": f"class {k}", "pixels": 5, **scores} for k in range(3)
        ],
        "intervals": {"level": 0.95, "over": "place", "groups": groups, "draws": 99, "seed": 0},
        "boundary_tolerance_px": 2,
        "confusion": {"rows": "truth", "counts": [[5, 1, 0], [0, 9, 0], [0, 0, 7]]},
        "reliability": [
            {"above": 0.9, "up_to": 1.0, "pixels": 22, "confidence": 0.95, "accuracy": 0.9}
        ],
        "groups": rows | {"empty": {"pixels": 0, "macro_iou": None}},
        "notes": [EVIL],
    }


def test_the_page_of_an_evaluation_has_every_score_with_its_interval(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(evaluation_page(evaluated(), made().card))
    reader = read(path)
    assert len(reader.images) == 2
    text = path.read_text()
    assert '0.871 <span class="range">0.842 to 0.899</span>' in text
    assert "<td>0.500</td>" in text
    assert "over 3 groups (by place)" in text
    assert "12,345" in text
    order = [text.index(f"place {k} ") for k in range(3)] + [text.rindex(">empty<")]
    assert order == sorted(order)


def test_an_evaluation_of_one_group_says_why_it_has_no_intervals():
    assert b"one group only" in evaluation_page(evaluated(groups=1), made().card)
