"""A checkpoint gives back every bit, and a damaged one is noticed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geounet.errors import OutputError
from geounet.learn.checkpoint import Checkpoints, state_of


def state(seed=0):
    """A tree with the kinds of leaves that training has: floats, bf16, counters, random keys."""
    key = jax.random.key(seed)
    return {
        "weights": [jax.random.normal(key, (5, 3)), jnp.float32(0.1) * seed],
        "half": jax.random.normal(key, (4,)).astype(jnp.bfloat16),
        "counter": jnp.int32(7 + seed),
        "rngs": jax.random.key(seed + 1),
    }


def fresh(folder, keep=2):
    return Checkpoints(folder / "last", keep)


@pytest.fixture
def two(tmp_path):
    """Two checkpoints in a folder, whose writer is gone."""
    kept = fresh(tmp_path)
    for seed in (1, 2):
        kept.save(state(seed), {"epoch": seed, "loss": 0.1 + seed, "records": [{"iou": None}]})
    kept.close()
    return tmp_path


def load(folder):
    notes = []
    kept = fresh(folder)
    found = kept.load(notes.append)
    kept.close()
    return found, notes


def bits(leaf):
    plain = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return plain.dtype, plain.shape, np.asarray(plain).tobytes()


def test_what_is_loaded_is_what_was_saved_to_the_bit(two):
    (arrays, about), notes = load(two)
    loaded = state_of(arrays, state(0))
    assert jax.tree.map(bits, loaded) == jax.tree.map(bits, state(2))
    assert jax.tree.structure(loaded) == jax.tree.structure(state(2))
    assert about == {"epoch": 2, "loss": 2.1, "records": [{"iou": None}]}
    assert not notes


def test_an_empty_folder_holds_none(tmp_path):
    assert load(tmp_path) == (None, [])


def test_only_the_newest_are_kept(two):
    kept = fresh(two)
    kept.save(state(3), {"epoch": 3})
    kept.close()
    assert sorted(p.name for p in (two / "last").iterdir()) == [
        "2",
        "2.sha256",
        "3",
        "3.sha256",
    ]


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def truncate(file):
    file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, truncate, lambda file: file.unlink()])
@pytest.mark.parametrize("part", ["state/d/*", "state/manifest.ocdbt", "about/metadata"])
def test_a_damaged_one_is_noticed_and_the_one_before_it_used(two, part, damage):
    (file,) = (two / "last/2").glob(part)
    damage(file)
    (arrays, about), notes = load(two)
    assert about["epoch"] == 1
    assert jax.tree.map(bits, state_of(arrays, state(0))) == jax.tree.map(bits, state(1))
    assert len(notes) == 1
    assert "last/2: damaged" in notes[0]
    assert "\n" not in notes[0]
    # It is gone, so that the next one does not push out the last sound one.
    assert not (two / "last/2").exists()


def test_one_with_a_link_is_passed_over_though_its_bytes_are_right(two):
    (file,) = (two / "last/2").glob("state/d/*")
    file.rename(two / "elsewhere")
    file.symlink_to(two / "elsewhere")
    (_, about), notes = load(two)
    assert about["epoch"] == 1
    assert "damaged" in notes[0]
    assert (two / "elsewhere").exists()


def test_one_without_its_seal_is_not_complete(two):
    (two / "last/2.sha256").unlink()
    (_, about), notes = load(two)
    assert about["epoch"] == 1
    assert "not complete" in notes[0]


def test_with_no_sound_one_left_there_is_none(two):
    for seal in (two / "last").glob("*.sha256"):
        seal.write_bytes(b"\xff")
    found, notes = load(two)
    assert found is None
    assert len(notes) == 2


def test_a_half_written_one_does_not_count(two):
    whole = two / "last/2"
    whole.rename(two / "last/2.orbax-checkpoint-tmp")
    (_, about), notes = load(two)
    assert about["epoch"] == 1
    assert not notes


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/last: no checkpoint can be written"):
        fresh(tmp_path / "file")
