"""YAML that a person wrote: no name twice, and else what PyYAML makes of it."""

from __future__ import annotations

import pytest
import yaml

from geounet.errors import InputError, ModelError, SettingsError
from geounet.learn.train_settings import load_settings
from geounet.scene import open_scene
from geounet.yaml_file import read_mapping


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a is there already, in line 1; keep one"),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", "line 4: b is there already, in line 2"),
        ("a: [{b: 1}, {b: 1,\n  b: 2}]\n", "line 2: b is there already, in line 1"),
        ("1: a\n0x1: b\n", "line 2: 0x1 is there already, in line 1"),
        ("a: &x {b: 1, b: 2}\nc: *x\n", "line 1: b is there already, in line 1"),
    ],
)
def test_a_name_that_is_there_twice_is_refused_with_its_line(text, told, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=rf"a\.yaml: {told}"):
        read_mapping(path, "file", ModelError, aliases=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1}\nc: {b: 2}\n1: x\n'1': y\n",
        "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\ne: {<<: [*x, {c: 5}], f: *x}\n",
        "a: &x {b: 1}\nd:\n  <<: *x\n  <<: {c: 2}\n",
        "{[1, 2]: a, [1, 2]: b}\n",
        "%YAML 1.1\n---\na: 2020-01-31\n",
    ],
)
def test_all_else_is_as_it_was(text, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(ModelError, match="is not YAML"):
            read_mapping(path, "file", ModelError, aliases=True)
    else:
        assert read_mapping(path, "file", ModelError, aliases=True) == expected


def test_a_mapping_within_itself_is_looked_at_once(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &x\n  b: *x\n")
    found = read_mapping(path, "file", ModelError, aliases=True)
    assert found["a"]["b"] is found["a"]


def test_each_reader_refuses_it_by_its_own_error(tmp_path):
    path = tmp_path / "scene.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(SettingsError, match="line 2: name is there already"):
        load_settings(path)
    with pytest.raises(InputError, match="line 2: name is there already"):
        open_scene(path)
