"""The loop: what it learns and tells, where it stops, and that a break changes no bit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geounet.errors import InterruptedJobError, OutputError, SettingsError
from geounet.learn.learner import take_step
from geounet.learn.loop import fit
from geounet.learn.prefetch import READY, Prefetch
from geounet.learn.records import write_config
from geounet.learn.standing import Standing, best_of, is_exhausted, score_of
from geounet.learn.train_settings import load_settings
from geounet.stop import StopRequest
from tests.listener import Listener
from tests.made_source import MadeSource, settings_of

TIMES = {"seconds", "validation_seconds", "samples_per_second", "waited"}


class StopAfter(StopRequest):
    """Asks for an end once it was asked so many times; the loop asks after every step."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        self.exit_code = 143 if self.left < 0 else 0
        return super().__call__()


def bits(fitted):
    leaves = jax.tree_util.tree_leaves_with_path(
        nnx.state(fitted.network, nnx.Param, nnx.BatchStat)
    )
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}


def untimed(records):
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 20 steps in 4 epochs without a break."""
    out, listener = tmp_path_factory.mktemp("whole"), Listener()
    return fit(settings_of(), MadeSource(), out, reporter=listener), listener, out


def interrupted(out, questions, settings=None):
    stop = StopAfter(questions)
    with pytest.raises(InterruptedJobError, match="run the command again with --resume") as caught:
        fit(settings or settings_of(), MadeSource(), out, stop=stop)
    assert caught.value.exit_code == 143
    return str(caught.value)


def test_it_tells_what_it_does(whole):
    fitted, listener, out = whole
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines == listener.records == list(fitted.records)
    assert [r["epoch"] for r in lines] == [1, 2, 3, 4]
    assert [r["step"] for r in lines] == [5, 10, 15, 20]
    for record in lines:
        assert record["skipped"] == 0
        assert np.sum(record["confusion"]) == 6 * (16 * 16 - 2)
        assert record["macro_iou"] == pytest.approx(np.mean(list(record["iou"].values())), abs=1e-6)
        assert 0 <= record["waited"] <= 1
    for record in lines[1:]:
        assert record["samples_per_second"] == pytest.approx(20 / record["seconds"], rel=0.2)
    assert lines[-1]["validation_loss"] < lines[0]["validation_loss"]
    first = 4 * 256
    assert listener.stages == [("train, first step", first, 0), ("train", 20 * first, first)]
    assert listener.advanced == 20 * 4 * 256
    assert "epoch 4/4  loss" in listener.figures[-1]
    assert "samples/s  waited" in listener.figures[-1]
    assert sum("to go" in note for note in listener.notes) == 1


def test_one_program_serves_a_whole_run(whole):
    before = take_step._program._cache_size()
    fit(settings_of(), MadeSource(), whole[2])
    assert take_step._program._cache_size() == before


def test_the_same_run_gives_the_same_bits(whole, tmp_path):
    again = fit(settings_of(), MadeSource(), tmp_path)
    assert bits(again) == bits(whole[0])
    assert untimed(again.records) == untimed(whole[0].records)


@pytest.mark.parametrize(
    "questions",
    [0, 5, 7, 10, 12],
    ids=["first step", "validation", "end of an epoch", "mid-epoch", "last step of an epoch"],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(whole, questions, tmp_path):
    interrupted(tmp_path, questions)
    listener = Listener()
    resumed = fit(settings_of(), MadeSource(), tmp_path, resume=True, reporter=listener)
    assert bits(resumed) == bits(whole[0])
    assert untimed(resumed.records) == untimed(whole[0].records)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert untimed(map(json.loads, lines)) == untimed(whole[0].records)
    assert 0 < listener.stages[1][2] < listener.stages[1][1]


def test_the_message_says_where_it_stopped(tmp_path):
    assert "at epoch 1, after 3 of its 5 batches" in interrupted(tmp_path, 2)


def test_a_run_killed_after_a_checkpoint_goes_on_from_it(whole, tmp_path):
    class KilledError(Exception):
        pass

    class Fatal(MadeSource):
        def batch(self, epoch, i):
            if (epoch, i) == (2, 1):
                raise KilledError
            return super().batch(epoch, i)

    often = settings_of(checkpoint_minutes=0)
    with pytest.raises(KilledError):
        fit(often, Fatal(), tmp_path)
    resumed = fit(often, MadeSource(), tmp_path, resume=True)
    assert bits(resumed) == bits(whole[0])
    assert untimed(resumed.records) == untimed(whole[0].records)


def test_a_damaged_checkpoint_costs_time_but_no_bit(whole, tmp_path):
    often = settings_of(checkpoint_minutes=0)
    interrupted(tmp_path, 7, often)
    folder = tmp_path / ".geounet/training/last"
    newest = max(int(p.name) for p in folder.iterdir() if p.is_dir())
    (folder / str(newest) / "state/manifest.ocdbt").write_bytes(b"broken")
    listener = Listener()
    resumed = fit(often, MadeSource(), tmp_path, resume=True, reporter=listener)
    assert f"last/{newest}: damaged" in listener.notes[0]
    assert bits(resumed) == bits(whole[0])


def test_resuming_without_a_checkpoint_starts_anew(whole, tmp_path):
    listener = Listener()
    write_config(tmp_path, settings_of(batch=2))
    resumed = fit(settings_of(), MadeSource(), tmp_path, resume=True, reporter=listener)
    assert load_settings(tmp_path / "config.yaml").batch == settings_of().batch
    assert "no checkpoint yet; starts at the first epoch" in listener.notes[0]
    assert bits(resumed) == bits(whole[0])


@pytest.mark.parametrize(
    ("settings", "source", "field"),
    [
        (settings_of(seed=1), MadeSource(), r"seed was 0 and is now 1"),
        (settings_of(epochs=5), MadeSource(), r"epochs was 4 and is now 5"),
        (settings_of(), MadeSource(mean=(0.1, 0.2)), r"data\.mean was"),
        (settings_of(), MadeSource(held=7), r"data\.validation was 6 and is now 7"),
    ],
)
def test_a_resume_refuses_another_run_and_names_the_field(settings, source, field, stopped):
    before = sorted(stopped.rglob("*"))
    with pytest.raises(SettingsError, match=f"cannot resume, {field}"):
        fit(settings, source, stopped, resume=True)
    assert sorted(stopped.rglob("*")) == before


@pytest.mark.parametrize("field", ["device", "devices", "versions.flax"])
def test_a_resume_refuses_another_machine(field, stopped, monkeypatch):
    from geounet.learn import loop

    found = loop.identity_of(settings_of(), MadeSource())
    name, *inner = field.split(".")
    other = found | {name: found[name] | {inner[0]: "0"} if inner else "other"}
    monkeypatch.setattr(loop, "identity_of", lambda settings, data: other)
    with pytest.raises(SettingsError, match=f"cannot resume, {field} was"):
        fit(settings_of(), MadeSource(), stopped, resume=True)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped")
    interrupted(out, 2)
    return out


def test_what_has_no_effect_may_change_between_a_run_and_its_resume(whole, tmp_path):
    interrupted(tmp_path, 6)
    free = settings_of(cache_mb=1, checkpoint_minutes=9)
    assert bits(fit(free, MadeSource(), tmp_path, resume=True)) == bits(whole[0])


def test_a_batch_without_a_finite_loss_changes_nothing_but_the_count(tmp_path):
    fitted = fit(settings_of(), MadeSource(bad=(1, 3)), tmp_path)
    assert [record["skipped"] for record in fitted.records] == [2] * 4
    for leaf in jax.tree.leaves(nnx.state(fitted.network, nnx.Param, nnx.BatchStat)):
        assert np.isfinite(np.asarray(leaf)).all()
    assert np.isfinite([record["loss"] for record in fitted.records]).all()


def test_too_many_of_them_in_a_row_end_the_run(tmp_path):
    with pytest.raises(SettingsError, match=r"epoch 2: 10 batches in a row had no finite loss"):
        fit(settings_of(), MadeSource(bad=(0, 1, 2, 3, 4)), tmp_path)


def test_an_epoch_of_skipped_batches_has_no_loss(whole, tmp_path):
    class Late(MadeSource):
        def batch(self, epoch, i):
            return replace(self, bad=(0, 1, 2, 3, 4) if epoch == 2 else ()).batch_of(epoch, i)

        def batch_of(self, epoch, i):
            return MadeSource.batch(self, epoch, i)

    records = fit(settings_of(), Late(), tmp_path).records
    assert records[2]["loss"] is None
    assert records[2]["skipped"] == 5
    assert records[2]["validation_loss"] == records[1]["validation_loss"]


def test_the_best_epoch_is_kept_on_request(whole, tmp_path):
    records = whole[0].records
    for watch in ("loss", "iou"):
        kept = fit(settings_of(keep="best", watch=watch), MadeSource(), tmp_path / watch)
        assert kept.epoch == best_of(records, watch) + 1
        assert untimed(kept.records) == untimed(records)
        assert (bits(kept) == bits(whole[0])) == (kept.epoch == len(records))


def test_a_lost_best_checkpoint_is_said(tmp_path, monkeypatch):
    from geounet.learn import checkpoint

    settings = settings_of(keep="best")
    monkeypatch.setattr(checkpoint.Checkpoints, "_is_sound", lambda self, number: False)
    with pytest.raises(OutputError, match="best: the best epoch's checkpoint is lost"):
        fit(settings, MadeSource(), tmp_path)


def test_patience_ends_the_run(tmp_path):
    class Worse(MadeSource):
        """Labels of validation that no network agrees with any better by learning."""

        @property
        def validation(self):
            return [(image, 1 - labels // 255) for image, labels in super().validation]

    fitted = fit(settings_of(patience=1, watch="loss"), Worse(), tmp_path)
    scores = [score_of(record, "loss") for record in fitted.records]
    assert len(scores) < 4
    assert scores[-1] >= min(scores[:-1])


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"keep": "best"}, "keep: best"),
        ({"patience": 3}, "patience"),
        ({"optimiser": {"schedule": "plateau"}}, "optimiser.schedule: plateau"),
    ],
)
def test_what_needs_validation_is_refused_without(fields, name, tmp_path):
    with pytest.raises(SettingsError, match=f"{name} needs validation samples"):
        fit(settings_of(**fields), MadeSource(held=0), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_validation_there_are_no_scores(tmp_path):
    fitted = fit(settings_of(), MadeSource(held=0), tmp_path)
    assert fitted.epoch == 4
    assert not {"iou", "macro_iou", "validation_loss"} & fitted.records[-1].keys()


def test_best_and_patience_follow_from_the_records():
    records = [{"macro_iou": v, "validation_loss": w} for v, w in [(0.4, 1), (0.6, 3), (0.6, 0.5)]]
    assert best_of(records, "iou") == 1
    assert best_of(records, "loss") == 2
    assert best_of([{"macro_iou": None}], "iou") == 0
    assert is_exhausted(records, "iou", 1)
    assert not is_exhausted(records, "iou", 2)
    assert not is_exhausted(records, "loss", 1)
    assert not is_exhausted(records, "iou", None)
    assert not is_exhausted([], "iou", 1)


def test_the_time_of_compiling_is_no_pace():
    standing = Standing(loss=3.0, counted=1).lasted(20.0, True)
    assert standing.pace == 1 / 20
    standing = standing.after(1.0, True).lasted(0.5, False).after(0.0, False).lasted(0.5, False)
    assert standing.pace == 2
    assert standing.seconds == 21


def test_a_standing_survives_json():
    standing = Standing(
        3, 7, 0.1 + 0.2, 6, 1, 1, 12.5, 0.25, 1, 4.5, ({"epoch": 1, "iou": {"a": None}},)
    )
    assert Standing.from_json(json.loads(json.dumps(standing.as_json()))) == standing


def test_reading_ahead_keeps_the_order_and_a_bound():
    begun = []

    def make(n):
        begun.append(n)
        time.sleep(0.01 * (n % 3))
        return n * n

    with Prefetch(make, range(20)) as ahead:
        for n in range(20):
            assert max(begun, default=0) <= n + READY
            assert ahead.take()[0] == n * n


@dataclass(frozen=True)
class Greedy(MadeSource):
    """Its second batch asks for more memory than any machine has, of the device or beside it."""

    ask: Callable = np.zeros

    def batch(self, epoch, i):
        if i:
            self.ask((2**45, 8), np.float32)
        return super().batch(epoch, i)


@pytest.mark.parametrize("ask", [np.zeros, jnp.zeros], ids=["host", "device"])
def test_want_of_memory_names_the_settings_that_save_some(ask, tmp_path):
    with pytest.raises(SettingsError) as caught:
        fit(settings_of(), Greedy(ask=ask), tmp_path)
    told = str(caught.value)
    assert told.startswith("batch: 4 chips of 16 × 16 pixels take more memory than ")
    for name in ("chip", "network.base_filters", "network.remat", "optimiser.accumulate"):
        assert name in told
    assert "\n" not in told


def test_reading_ahead_raises_where_the_item_would_have_come():
    def make(n):
        return 1 // (2 - n)

    with Prefetch(make, range(5)) as ahead:
        assert [ahead.take()[0] for _ in range(2)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            ahead.take()


def test_waiting_for_data_is_measured_and_reading_ahead_is_not():
    def make(n):
        time.sleep(0.1)
        return n

    settled = []
    with Prefetch(make, range(3)) as ahead:
        _, first = ahead.take(lambda: settled.append(1))
        time.sleep(0.3)
        _, second = ahead.take(lambda: settled.append(2))
    assert first > 0.05
    assert second < 0.02
    assert settled == [1]
