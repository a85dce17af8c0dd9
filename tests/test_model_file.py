"""A model file is used whole or not at all, and says what differs."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from geounet.errors import ModelError
from geounet.model_file import (
    METADATA_KEY,
    find_model,
    load_card,
    load_model,
    outgrown,
    save_model,
    shipped,
)
from geounet.unet import UNet, fold
from tests.nets import (
    EVERYTHING,
    architecture,
    card_of,
    name_of,
    net_with_statistics,
    random_net,
)


@pytest.fixture
def model(tmp_path):
    arch = architecture(depth=2)
    path = tmp_path / "drawn.safetensors"
    card = save_model(path, random_net(arch), card_of(arch), "float32")
    return path, card


def rewrite(path, card=None, **tensors):
    """The file again with other tensors or another card; None removes a tensor."""
    kept = {**load_file(path), **tensors}
    text = json.dumps(card) if card is not None else json.dumps(load_card(path).model_dump())
    save_file({k: v for k, v in kept.items() if v is not None}, path, {METADATA_KEY: text})


def test_a_saved_model_is_the_same_network(model):
    path, card = model
    loaded = load_model(path)
    x = np.random.default_rng(0).normal(size=(1, 24, 16, 3)).astype(np.float32)
    assert loaded.card == card == load_card(path)
    np.testing.assert_array_equal(loaded.network(x), random_net(card.architecture)(x))


def test_saving_folds_batch_norm(tmp_path):
    arch = architecture(depth=1).model_copy(update={"batch_norm": True, "dropout": 0.1})
    network = UNet(arch, nnx.Rngs(0))
    network.eval()
    card = save_model(tmp_path / "m.safetensors", network, card_of(arch), "float32")
    plain, _ = fold(network, arch)
    x = np.ones((1, 8, 8, 3), np.float32)
    assert not card.architecture.batch_norm
    loaded = load_model(tmp_path / "m.safetensors").network
    np.testing.assert_allclose(loaded(x), plain(x), atol=1e-6)


@pytest.mark.parametrize("options", EVERYTHING, ids=name_of)
def test_every_kind_of_network_comes_back_as_it_was_saved(options, tmp_path):
    arch = architecture(depth=1, **options).model_copy(update={"batch_norm": True})
    network, path = net_with_statistics(arch), tmp_path / "m.safetensors"
    card = save_model(path, network, card_of(arch), "float32")
    loaded, forward = load_model(path), nnx.jit(lambda network, x: network(x))
    assert loaded.card == card == load_card(path)
    assert card.architecture == arch.model_copy(update={"batch_norm": False})
    x = np.random.default_rng(0).normal(size=(1, 10, 6, 3)).astype(np.float32)
    plain, _ = fold(network, arch)
    np.testing.assert_array_equal(forward(loaded.network, x), forward(plain, x))
    np.testing.assert_allclose(forward(loaded.network, x), forward(network, x), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"block": "residual"}, r"lacks decoder\.0\.projection"),
        ({"attention": True}, r"lacks gates\.0\.psi\.bias"),
        ({"dilations": [2]}, "the card's reach is 22, its network's is 30"),
        ({"expansion": 6}, "SHA-256 differs"),
        ({"block": "dense"}, r"block: Input should be 'plain', 'residual' or"),
    ],
)
def test_another_kind_of_network_than_the_cards_is_refused(change, match, model):
    path, card = model
    fields = card.model_dump()
    fields["architecture"] |= change
    rewrite(path, fields)
    with pytest.raises(ModelError, match=match):
        load_model(path)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    arch = architecture()
    for name in ("a", "b"):
        save_model(tmp_path / name, random_net(arch), card_of(arch))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_flipped_bit_in_a_tensor_is_noticed(model):
    path, _ = model
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(path)


def test_a_changed_card_is_noticed(model):
    path, card = model
    rewrite(path, {**card.model_dump(), "mean": [0.2, 0.2, 0.2]})
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"head.bias": None}, r"lacks head\.bias"),
        ({"extra": np.zeros(3, np.float32)}, "has an unknown extra"),
        ({"head.bias": np.zeros(7, np.float32)}, r"head\.bias has shape \(7,\), not \(3,\)"),
        ({"head.bias": np.zeros(3, np.int32)}, r"head\.bias is I32, not F16 or F32"),
        ({"head.bias": np.full(3, np.nan, np.float32)}, r"head\.bias has values that are not"),
    ],
)
def test_what_differs_is_named(change, match, model):
    path, _ = model
    rewrite(path, **change)
    with pytest.raises(ModelError, match=match):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema_version": 99}, "schema version 99; this geounet reads 1"),
        ({"code": "import os"}, "code: Extra inputs are not permitted"),
        ({"reach": 3}, "the card's reach is 3, its network's is 22"),
        ({"classes": []}, "3 outputs tell 3 classes apart, but the card names 0"),
        ({"bands": ["red"]}, "takes 3 bands, but the card has 1 names"),
        ({"name": "../../etc/passwd"}, "name: String should match"),
        (
            {"classes": [{"value": 0, "name": "wa\nter", "colour": "#000000"}]},
            r"classes\.0\.name: String should match",
        ),
    ],
)
def test_a_card_that_is_not_valid_is_refused(change, match, model):
    path, card = model
    rewrite(path, {**card.model_dump(), **change})
    with pytest.raises(ModelError, match=match):
        load_model(path)


def test_a_field_that_came_later_is_hashed_unless_it_is_at_its_default(model):
    path, card = model
    fields = card.model_dump()
    assert "temperature" not in fields
    rewrite(path, {**fields, "temperature": 1.0})
    assert load_model(path).card == card
    rewrite(path, {**fields, "temperature": 2.0})
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(path)


def test_the_shipped_water_model_sees_indices_and_is_calibrated():
    card = load_model("water").card
    assert len(card.pairs) == 6
    assert card.temperature != 1.0


def test_two_classes_of_one_value_are_refused():
    arch = architecture(outputs=2)
    classes = card_of(arch).classes
    with pytest.raises(ValueError, match="two classes have the same value"):
        card_of(arch, classes=(classes[0], classes[0]))
    named = (classes[0], classes[0].model_copy(update={"value": classes[0].value + 1}))
    with pytest.raises(ValueError, match="two classes have the same name"):
        card_of(arch, classes=named)


def test_files_that_are_no_models_are_refused(tmp_path, model):
    path, _ = model
    whole = path.read_bytes()
    cases = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "trailing": whole + b"tail",
        "pickle": pickle.dumps({"os": "system"}),
        "huge header": b"\xff" * 8 + whole[8:],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=r"not a readable \.safetensors model"):
            load_model(tmp_path / name)


def test_a_safetensors_file_without_a_card_is_refused(tmp_path):
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="without a geounet card"):
        load_model(tmp_path / "a.safetensors")


def test_an_unfolded_network_is_refused(model):
    path, card = model
    fields = card.model_dump()
    fields["architecture"]["batch_norm"] = True
    rewrite(path, fields)
    with pytest.raises(ModelError, match="batch norm is not folded"):
        load_model(path)


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    network = random_net(architecture())
    network.head.bias[...] = np.inf
    with pytest.raises(ModelError, match="not finite"):
        save_model(tmp_path / "m", network, card_of(architecture()))
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_neither_a_file_nor_shipped_is_refused():
    with pytest.raises(ModelError, match="neither a file nor a shipped model"):
        find_model("no-such-model")


def test_shipped_models_are_sound_small_and_say_what_they_are():
    assert set(shipped()) == {"water", "forest"}
    for path in shipped().values():
        card = load_model(path).card
        assert card.sha256 in path.with_suffix(".md").read_text()
        assert path.stat().st_size <= 5_000_000
        assert card.name == path.stem
        assert card.training_data
        assert card.training_licence
        assert card.training_command
        assert card.accuracy


def test_weights_too_large_for_float16_are_told_without_a_warning(tmp_path):
    arch = architecture(depth=1)
    network = random_net(arch)
    assert not outgrown(network, arch)
    network.head.kernel[...] = network.head.kernel[...] * 1e7
    assert outgrown(network, arch)
    assert not outgrown(network, arch, "float32")
    with pytest.raises(ModelError, match="not finite"):
        save_model(tmp_path / "m.safetensors", network, card_of(arch))
    assert not list(tmp_path.iterdir())
