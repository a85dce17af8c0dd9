"""Imported weights: the same numbers as in PyTorch, and every layer we lack refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch
import yaml
from safetensors.torch import save_file

from geounet.cli import run
from geounet.errors import InputError, ModelError, OutputError, SettingsError
from geounet.model_file import load_card, load_model
from geounet.predict import Predictor
from geounet.resnet_unet import reach
from geounet.torch_weights import import_weights
from tests.jobs import make_scene
from tests.torch_resnet_unet import TorchResNetUNet

CARD = {
    "name": "imported",
    "bands": ["blue", "green", "red"],
    "mean": [0.1, 0.1, 0.1],
    "std": [0.05, 0.06, 0.07],
    "scale": 1e-4,
    "pixel_size": [10.0, 30.0],
    "training_licence": "CC BY 4.0",
    "classes": [
        {"value": 3 * k, "name": f"class {k}", "colour": f"#{k}0{k}0{k}0"} for k in range(4)
    ],
}


@pytest.fixture(scope="module")
def oracle():
    return TorchResNetUNet(bands=3, outputs=4)


@pytest.fixture
def folder(tmp_path, oracle):
    save_file(oracle.state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
    return tmp_path


def imported(folder, **changes):
    if changes:
        kept = {k: v for k, v in (CARD | changes).items() if v is not None}
        (folder / "card.yaml").write_text(yaml.safe_dump(kept))
    return import_weights(
        folder / "weights.safetensors", folder / "card.yaml", folder / "model.safetensors"
    )


def save_changed(folder, oracle, changed=None, without=()):
    kept = {k: v for k, v in oracle.state_dict().items() if k not in without}
    save_file(kept | (changed or {}), folder / "weights.safetensors")


def difference(network, torch_network, shape=(1, 96, 160, 3)):
    """Largest |ours − PyTorch's| and |ours − PyTorch's in float64|, and the spread of logits."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ours = np.asarray(network(x))
    given = torch.from_numpy(x).permute(0, 3, 1, 2)
    with torch.no_grad():
        theirs = torch_network(given).permute(0, 2, 3, 1).numpy()
        exact = torch_network.double()(given.double()).permute(0, 2, 3, 1).numpy()
        torch_network.float()
    return np.abs(ours - theirs).max(), np.abs(ours - exact).max(), theirs.std()


@pytest.mark.parametrize(
    ("blocks", "outputs"), [((2, 2, 2, 2), 4), ((3, 4, 6, 3), 1)], ids=["resnet18", "resnet34"]
)
def test_logits_equal_pytorchs(tmp_path, blocks, outputs):
    theirs = TorchResNetUNet(bands=3, outputs=outputs, blocks=blocks)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    card = imported(tmp_path, classes=CARD["classes"][: max(2, outputs)])
    model = load_model(tmp_path / "model.safetensors")
    assert model.card == card
    assert card.architecture.blocks == blocks
    assert card.reach == reach(card.architecture)
    float32, float64, spread = difference(model.network, theirs)
    assert spread > 0.1
    assert float32 < 1e-4
    assert float64 < 1e-4


def test_the_card_says_what_the_yaml_says(folder):
    card = imported(folder)
    assert card.training_licence == "CC BY 4.0"
    assert card.std == (0.05, 0.06, 0.07)
    assert card.architecture.kind == "resnet_unet"
    assert load_card(folder / "model.safetensors") == card


def test_indices_of_the_card_are_inputs_of_the_network(folder, oracle):
    """Three inputs: two bands, and the index that is computed from them."""
    card = imported(folder, bands=["green", "nir"], indices=[["green", "nir"]])
    numbers = np.random.default_rng(1).integers(1, 5000, (96, 64, 2)).astype(np.uint16)
    model = load_model(folder / "model.safetensors")
    predictor = Predictor(model.network, card, (1e-4, 1e-4), (0.0, 0.0))
    ours = np.asarray(predictor.logits(numbers, np.ones((96, 64), bool)))
    bands = numbers * np.float32(1e-4)
    index = (bands[..., 0] - bands[..., 1]) / np.maximum(bands.sum(axis=-1), 0.01)
    seen = np.concatenate([bands, index[..., None]], axis=-1)
    seen = ((seen - np.array(card.mean)) / np.array(card.std)).astype(np.float32)
    with torch.no_grad():
        theirs = oracle(torch.from_numpy(seen).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * theirs.std())


def test_a_card_with_fewer_inputs_than_the_weights_is_refused(folder):
    with pytest.raises(SettingsError, match=r"card\.yaml: .*3"):
        imported(folder, bands=["green", "nir"], mean=[0.1, 0.1], std=[0.1, 0.1])


def test_a_prefix_before_all_names_goes(folder, oracle):
    before = imported(folder)
    (folder / "model.safetensors").unlink()
    named = {f"model.{name}": value for name, value in oracle.state_dict().items()}
    save_file(named, folder / "weights.safetensors")
    assert imported(folder) == before


def test_segment_runs_with_an_imported_model(folder, tmp_path):
    scene = make_scene(tmp_path / "scene.tif")
    paths = [str(folder / name) for name in ("weights.safetensors", "card.yaml", "m.safetensors")]
    assert run(["models", "import", *paths]) == 0
    arguments = ["--model", paths[2], "--progress", "none"]
    assert run(["segment", str(scene), str(tmp_path / "out"), *arguments]) == 0
    with rasterio.open(tmp_path / "out/mask.tif") as file:
        mask = file.read(1)
    assert mask.shape == (86, 101)
    assert len(set(np.unique(mask)) & {0, 3, 6, 9}) > 1
    assert (mask[:9, :14] == 255).all()


@pytest.mark.parametrize(
    "name",
    [
        "decoder.blocks.0.attention1.attention.cSE.1.weight",
        "encoder.layer1.0.se_module.fc1.weight",
        "encoder.layer1.0.conv3.weight",
        "decoder.blocks.2.conv1.0.bias",
        "classification_head.3.weight",
    ],
)
def test_a_layer_we_do_not_have_is_refused_by_its_name(folder, oracle, name):
    save_changed(folder, oracle, {name: torch.zeros(8), "zzz.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match=rf"{name} belongs to no layer .*only .*resnet18"):
        imported(folder)
    assert not (folder / "model.safetensors").exists()


def test_the_first_unknown_layer_is_named_in_the_networks_order(folder, oracle):
    names = ("decoder.p5.weight", "encoder.layer10.0.x.weight", "encoder.layer2.0.se.weight")
    save_changed(folder, oracle, {name: torch.zeros(1) for name in names})
    with pytest.raises(ModelError, match=r"encoder\.layer2\.0\.se\.weight belongs"):
        imported(folder)


@pytest.mark.parametrize("name", ["encoder.layer3.1.bn2.running_var", "segmentation_head.0.bias"])
def test_a_tensor_that_is_missing_is_named(folder, oracle, name):
    save_changed(folder, oracle, without=(name,))
    with pytest.raises(ModelError, match=f"lacks {name}"):
        imported(folder)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_another_encoder_is_refused_by_its_own_name(folder, prefix):
    names = ("decoder.blocks.0.conv1.0.weight", "encoder._conv_stem.weight", "aux.weight")
    tensors = {prefix + name: torch.zeros(1) for name in names}
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(
        ModelError, match=rf"{prefix}encoder\._conv_stem\.weight belongs to no layer"
    ):
        imported(folder)


def test_a_file_without_tensors_is_refused(folder):
    save_file({}, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"weights\.safetensors: holds no tensor; only"):
        imported(folder)


def test_a_stem_of_another_shape_is_refused(folder, oracle):
    save_changed(folder, oracle, {"encoder.conv1.weight": torch.zeros(8)})
    with pytest.raises(ModelError, match=r"encoder\.conv1\.weight is no layer of ours"):
        imported(folder)


def test_a_tensor_of_another_shape_or_type_is_refused(folder, oracle):
    name = "decoder.blocks.1.conv2.0.weight"
    save_changed(folder, oracle, {name: torch.zeros(8, 8, 1, 1)})
    with pytest.raises(ModelError, match=rf"{name} has shape \(8, 8, 1, 1\), not \(8, 8, 3, 3\)"):
        imported(folder)
    save_changed(folder, oracle, {name: torch.zeros(8, 8, 3, 3, dtype=torch.bfloat16)})
    with pytest.raises(ModelError, match=f"{name} is BF16; save the weights as float32"):
        imported(folder)


def test_a_file_that_is_no_safetensors_is_refused(folder):
    (folder / "weights.safetensors").write_bytes(b"\x80\x02pickle")
    with pytest.raises(ModelError, match=r"weights\.safetensors: not a readable"):
        imported(folder)


def test_bilinear_enlarging_is_refused_where_the_options_tell_of_it(folder):
    (folder / "config.json").write_text(json.dumps({"decoder_interpolation": "bilinear"}))
    with pytest.raises(ModelError, match="decoder_interpolation is bilinear, not nearest"):
        imported(folder)
    (folder / "config.json").write_text("not json")
    imported(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": None}, "mean: Field required"),
        ({"bands": ["red"]}, "takes 3 bands, but the card has 1 names"),
        ({"classes": CARD["classes"][:2]}, "4 outputs tell 4 classes apart, but the card names 2"),
        ({"reach": 3}, "reach: follows from the weights; leave it out"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_card_that_cannot_be_is_refused(folder, changes, message):
    with pytest.raises(SettingsError, match=rf"card\.yaml: .*{message}"):
        imported(folder, **changes)


def test_a_card_that_cannot_be_read_is_refused(folder):
    card = folder / "card.yaml"
    for text, message in (("- a", "holds no named values"), ("a: [", "is not YAML")):
        card.write_text(text)
        with pytest.raises(SettingsError, match=message):
            imported(folder)
    card.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        imported(folder)


def test_a_model_is_not_replaced_unasked(folder):
    imported(folder)
    with pytest.raises(OutputError, match="exists; name another, or add --overwrite"):
        imported(folder)
    paths = [folder / name for name in ("weights.safetensors", "card.yaml", "model.safetensors")]
    import_weights(*paths, overwrite=True)


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("encoder.layer1.0.conv1.weight", float("nan"), "values that are not finite"),
        ("encoder.bn1.running_var", -1.0, "variances below 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_their_own_name(
    folder, oracle, name, number, message
):
    broken = oracle.state_dict()[name].clone()
    broken.view(-1)[0] = number
    save_changed(folder, oracle, {name: broken})
    with pytest.raises(ModelError, match=rf"weights.safetensors: {name} has {message}"):
        imported(folder)


@pytest.mark.parametrize("field", ["mean", "std"])
def test_a_card_of_numbers_that_are_not_finite_is_refused(folder, field):
    with pytest.raises(SettingsError, match=rf"card.yaml: {field}.1: Input should be a finite"):
        imported(folder, **{field: [0.1, float("inf"), 0.1]})


def test_a_model_is_called_safetensors(folder):
    with pytest.raises(OutputError, match=r"x.txt: a model is a .safetensors file"):
        import_weights(folder / "weights.safetensors", folder / "card.yaml", folder / "x.txt")
