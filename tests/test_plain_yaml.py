"""One YAML loader for settings and recordings: numbers are numbers, nothing is built, nothing is dropped."""

import pytest

from robosac import plain_yaml
from robosac.detectors.bev.config import TrainConfig
from robosac.experiments.settings import make_grid
from robosac.registry.attacks import open_attack
from robosac.types import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-2", 0.01), ("-1E+3", -1000.0), ("2e5", 2e5), ("1.e-2", 0.01), (".5e1", 5.0), ("1.5e-3", 0.0015), ("3", 3)],
)
def test_numbers(text, value):
    found = plain_yaml.parse(text.encode())
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["1e", "e-2", "1e-2x", "pgd", "1e-2 m", '"1e-2"'])
def test_what_only_looks_like_a_number_is_text(text):
    assert plain_yaml.parse(text.encode()) == text.strip('"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "a stands twice"),
        ("{x: {a: 1, a: 1}}", "a stands twice"),
        ("!!python/object/apply:os.getcwd []", "python/object"),
        ("a: !mine 3", "!mine"),
        ("a: &a {x: 1}\nb: {<<: *a}", "merge keys"),
        ("[a", "expected"),
        ("? [a]\n: b", "unhashable|hashable"),
    ],
)
def test_what_is_not_plain_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        plain_yaml.parse_text(text, "it")


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    for name, said in (("latin.yaml", "in UTF-8"), ("none.yaml", "got none")):
        with pytest.raises(InputError, match=rf"{name}.*{said}"):
            plain_yaml.read(tmp_path / name)


def test_a_number_is_one_in_every_kind_of_settings(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("epsilon: [1e-2]\ncomm_range_m: 5e1\n")
    grid = make_grid(path, {})
    assert (grid.epsilon, grid.comm_range_m) == ((0.01,), 50.0)
    path.write_text("name: tiny\noptim: {lr: 1e-3}\n")
    assert TrainConfig.read(path).optim.lr == 0.001
    assert open_attack("pgd:epsilon=1e-2").epsilon == 0.01
