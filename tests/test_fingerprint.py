"""Fingerprints: other content, another name; the same content, the same name, in every process."""

import functools
import importlib.util
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch

from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.fingerprint import code_files, file_fingerprint, fingerprint
from tests.detectors import fake_coperception
from tests.toy import ToyDetector

ROOT = Path(__file__).parents[1]


@dataclass
class Settings:
    iou: float = 0.5
    seen: list[int] = field(default_factory=list, compare=False)


class Holder:
    """A plain class around whatever decides."""

    scale = 1.0

    def __init__(self, held, **more):
        self.held = held
        self.__dict__.update(more)

    @functools.cached_property
    def computed(self):
        return object()


class Slots:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Knows:
    def __init__(self, content, other=None):
        self.content, self.other = content, other

    def fingerprint(self):
        return self.content


def net(seed=0, **changes):
    torch.manual_seed(seed)
    made = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, **changes), torch.nn.BatchNorm2d(2))
    return made.eval()


def nudged(of=net):
    made = of()
    with torch.no_grad():
        next(made.parameters()).view(-1)[-1] += 1e-6
    return made


def scripted(of=net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(of(), torch.zeros(1, 1, 8, 8))


def detect_with(network):
    return lambda points: network(points)


def late(network, **settings):
    return LateFusion(detect_with(network), name="late", **settings)


def module(text):
    """What a module defines as `it`, from source."""
    spec = importlib.util.spec_from_loader("own", loader=None)
    made = importlib.util.module_from_spec(spec)
    exec(compile(text, "own.py", "exec"), made.__dict__)
    return made.it


DIFFERENT = {
    "numbers": (1, 2),
    "types": (1, 1.0),
    "truth and number": (True, 1),
    "text and number": ("1", 1),
    "last bit": (0.1, float(np.nextafter(0.1, 1))),
    "signed zero": (0.0, -0.0),
    "infinities": (float("inf"), float("-inf")),
    "nesting": ([1, [2]], [[1], 2]),
    "where a text ends": (["ab", "c"], ["a", "bc"]),
    "key": ({"a": 1}, {"b": 1}),
    "value": ({"a": 1}, {"a": 2}),
    "set": ({1, 2}, {1, 3}),
    "dataclass": (Settings(0.5), Settings(0.1)),
    "array": (np.arange(3), np.array([0, 1, 3])),
    "array's type": (np.zeros(2, np.float32), np.zeros(2, np.float64)),
    "array's shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array's kind of number": (np.dtype("f4"), np.dtype("f8")),
    "tensor's kind of number": (torch.float32, torch.float16),
    "attribute": (Holder(1), Holder(2)),
    "slot": (Slots(1), Slots(2)),
    "deep": (Holder({"nets": [Holder(net())]}), Holder({"nets": [Holder(nudged())]})),
    "weights": (net(), nudged()),
    "weights behind a plain class": (Holder(net()), Holder(nudged())),
    "weights in a closure": (detect_with(net()), detect_with(nudged())),
    "weights in a partial": (functools.partial(print, net()), functools.partial(print, nudged())),
    "weights of a bound method": (net().forward, nudged().forward),
    "weights in TorchScript": (scripted(), scripted(nudged)),
    "what a network is, not what it learnt": (net(stride=1), net(stride=2)),
    "settings of a network's part": (torch.nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.2)),
    "late: weights": (late(net()), late(nudged())),
    "late: settings": (late(net(), iou=0.1), late(net(), iou=0.5)),
    "late: merge": (late(net()), late(net(), merge="wbf")),
    "early: weights": (EarlyFusion(detect_with(net()), name="e"), EarlyFusion(detect_with(nudged()), name="e")),
    "what a function does": (module("def it(x): return x + 1"), module("def it(x): return x + 2")),
    "what a method does": (
        module("class A:\n def f(self): return 1\nit = A()"),
        module("class A:\n def f(self): return 2\nit = A()"),
    ),
    "what an inherited method does": (
        module("class A:\n def f(self): return 1\nclass B(A): pass\nit = B()"),
        module("class A:\n def f(self): return 2\nclass B(A): pass\nit = B()"),
    ),
    "what a property does": (
        module("class A:\n @property\n def f(self): return 1\nit = A()"),
        module("class A:\n @property\n def f(self): return 2\nit = A()"),
    ),
    "what a method of a dataclass does": (
        module("import dataclasses\n@dataclasses.dataclass\nclass A:\n def f(self): return 1\nit = A()"),
        module("import dataclasses\n@dataclasses.dataclass\nclass A:\n def f(self): return 2\nit = A()"),
    ),
    "a class's constant": (module("class A:\n t = .1\nit = A()"), module("class A:\n t = .2\nit = A()")),
    "defaults": (module("def it(x=1): return x"), module("def it(x=2): return x")),
    "what knows better": (Knows(1), Knows(2)),
    "device": (torch.device("cpu"), torch.device("cuda:0")),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_other_content_has_another_name(case):
    a, b = DIFFERENT[case]
    assert fingerprint(a) != fingerprint(b)


def itself():
    made = Holder(1)
    made.me = [made]
    return made


SAME = {
    "order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "mappings": (MappingProxyType({"a": 1})["a"], 1),
    "weights": (net(), net()),
    "TorchScript": (scripted(), scripted()),
    "detectors": (late(net()), late(net())),
    "one object or two that are equal": ([(s := Settings()), s], [Settings(), Settings()]),
    "what is not compared": (Settings(seen=[1]), Settings()),
    "line numbers": (module("def it(x): return x"), module("\n\ndef it(x):\n  return x")),
    "what was computed": ((h := Holder(1), h.computed)[0], Holder(1)),
    "which of the GPUs": (torch.device("cuda:0"), torch.device("cuda:1")),
    "what knows better": (Knows(1, other=2), Knows(1, other=3)),
    "objects that hold themselves": (itself(), itself()),
    "addresses": (Holder(object()), Holder(object())),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_content_has_the_same_name(case):
    a, b = SAME[case]
    assert fingerprint(a) == fingerprint(b)


def test_an_adapters_model_is_read_to_the_bottom():
    """As the adapters hold theirs: a model of a framework among settings of their own."""
    torch.manual_seed(0)
    model = fake_coperception.FusionBase()
    held = SimpleNamespace(model=model, layout=fake_coperception.LAYOUT)
    first = fingerprint(held)
    assert fingerprint(SimpleNamespace(model=model, layout=fake_coperception.LAYOUT)) == first
    with torch.no_grad():
        model.u_encoder.conv_pre_1.bias[7] += 1e-6
    assert fingerprint(held) != first


def test_files_by_bytes_and_folders_by_names_sizes_and_times(tmp_path):
    a, b = tmp_path / "a.bin", tmp_path / "sub" / "b.bin"
    b.parent.mkdir()
    a.write_bytes(b"1")
    b.write_bytes(b"1")
    assert fingerprint(a) == fingerprint(b) and file_fingerprint(a) == file_fingerprint(b)
    first = file_fingerprint(tmp_path)
    os.utime(b, ns=(0, 123))
    assert file_fingerprint(tmp_path) != first
    os.utime(b, ns=(0, 124))
    again = file_fingerprint(tmp_path)
    b.rename(b.with_name("c.bin"))
    assert file_fingerprint(tmp_path) != again
    a.write_bytes(b"2")
    assert fingerprint(a) != fingerprint(b.with_name("c.bin"))
    assert fingerprint(tmp_path / "none") == fingerprint(tmp_path / "neither")


def test_files_behind_a_link_count(tmp_path):
    (tmp_path / "data").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "data" / "scene").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(tmp_path / "data")  # and back again
    (elsewhere / "1.pcd").write_bytes(b"1")
    first = file_fingerprint(tmp_path / "data")
    (elsewhere / "1.pcd").write_bytes(b"12")
    assert file_fingerprint(tmp_path / "data") != first


def test_what_a_detector_remembers_of_a_frame_is_its_own_business():
    """A detector that counts its sessions is another after the first; so names are taken when it is opened."""
    toy = ToyDetector()
    first = fingerprint(toy)
    toy.sessions.append(None)
    assert fingerprint(toy) != first


def test_torch_is_not_loaded_for_it():
    check = (
        "import sys\nfrom robosac.fingerprint import fingerprint\nfingerprint(1, [2.0])\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ------------------------------------------------------------------------------------------------------------- sources
FILES = {
    "mine.py": "import json, numpy, helper\nfrom nets import deep\nfrom . import no\ndef f():\n    import late_one",
    "helper.py": "import mine\nimport broken",
    "broken.py": "def (",
    "late_one.py": "",
    "unread.py": "",
    "nets/__init__.py": "from .base import *",
    "nets/base.py": "from nets.other import x",
    "nets/other.py": "",
    "nets/deep/__init__.py": "from ..sibling import y",
    "nets/sibling.py": "",
    "nets/unread.py": "",
}


def test_the_sources_of_a_module_are_those_of_all_that_it_imports_beside_it(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {str(path.relative_to(tmp_path)) for path in code_files("mine")}
    assert found == {name for name in FILES if "unread" not in name}
    assert "mine" not in sys.modules and "helper" not in sys.modules  # nothing was imported


def test_sources_of_what_is_installed_are_its_own():
    assert code_files("no_such_module") == code_files("late") == code_files("sys") == ()
    found = code_files("yaml")
    assert found and {path.parent.name for path in found} == {"yaml"}


def test_other_content_that_was_copied_with_the_time_of_the_old_is_noticed(tmp_path):
    file = tmp_path / "scan.bin"
    for size in (1, 5000, 100_000):
        names = set()
        for at in (None, 0, -1):
            data = bytearray(size)
            if at is not None:
                data[at] = 1 + at % 3
            file.write_bytes(data)
            os.utime(file, ns=(0, 123))
            names.add(file_fingerprint(tmp_path))
        assert len(names) == 3
