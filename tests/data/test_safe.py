"""Files are data: what is plain comes back, what is not is refused before anything is built or allocated."""

import collections
import json
import os
import pickle
import struct
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robosac.data import safe
from robosac.data.recording import DataError

PROTOCOLS = range(6)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int8, np.uint16, np.int64, np.bool_, ">i4", "<U3", "S4"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def put(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


# ------------------------------------------------------------------------------------------------------------ paths
def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    for name in ("\ud800", "x" * 5000):
        with pytest.raises(DataError):
            safe.read_bytes(safe.inside(tmp_path, name), tmp_path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "~/x", "a\0b", "\\x"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="within the data set"):
        safe.inside(tmp_path, name)


def test_a_symbolic_link_that_leads_out_is_refused_and_one_within_is_not(tmp_path):
    root, secret = tmp_path / "root", put(tmp_path, "secret", b"1")
    root.mkdir()
    put(root, "mine.json", b"1")
    (root / "out.json").symlink_to(secret)
    (root / "in.json").symlink_to(root / "mine.json")
    (root / "round").symlink_to(root / "round")
    assert safe.read_json(safe.inside(root, "in.json"), root) == 1
    with pytest.raises(DataError, match=r"out\.json: leads out of the data set"):
        safe.read_json(root / "out.json", root)
    with pytest.raises(DataError, match="round"):
        safe.inside(root, "round")
    (tmp_path / "link").symlink_to(root)
    assert safe.read_json(tmp_path / "link" / "mine.json", tmp_path / "link") == 1  # the root itself may be a link


def test_what_is_no_ordinary_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "ordinary file"), (".", "ordinary file"), ("none", "No such file")):
        with pytest.raises(DataError, match=why):
            safe.read_bytes(tmp_path / name, tmp_path)
    with pytest.raises(DataError, match="at most 3 bytes, got 4"):
        safe.read_bytes(put(tmp_path, "long", b"1234"), tmp_path, limit=3)


# ------------------------------------------------------------------------------------------------------- text files
def test_json_and_yaml_of_plain_values(tmp_path):
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": [[]]}}
    assert safe.read_json(put(tmp_path, "a.json", json.dumps(value).encode()), tmp_path) == value
    assert safe.read_yaml(put(tmp_path, "a.yaml", yaml.safe_dump(value).encode()), tmp_path) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": NaN}',
        "[Infinity]",
        "[-1e999]",
        "[" * 100_000,
        "9" * 5000,
        "\xff\xfe",
        "[" + "[]," * 2_000_000 + "[]]",
    ],
    ids=["empty", "open", "nan", "infinity", "too large", "deep", "long number", "no text", "many lists"],
)
def test_bad_json_is_named(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.json: is no valid JSON file"):
        safe.read_json(put(tmp_path, "a.json", text.encode("latin1")), tmp_path)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "a: !!python/tuple [1, 2]",
        "a: [",
        "[" * 50_000,
        "- " * 50_000 + "x",
        "\n".join(" " * i + "a:" for i in range(1200)),
        BOMB,
        "a: &a\n  - *a",
        "a: &a {x: 1}\nb: {<<: *a}",
        "? [a]\n: b",
        "a: \x00",
    ],
    ids=["call", "tuple", "open", "deep flow", "deep dashes", "deep blocks", "bomb", "endless", "merge", "key", "nul"],
)
def test_bad_yaml_is_named(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.yaml: is no valid YAML"):
        safe.read_yaml(put(tmp_path, "a.yaml", text.encode()), tmp_path)


MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k + 1}: &a{k + 1} {{MERGE: [{', '.join([f'*a{k}'] * 10)}]}}\n" for k in range(9)
)
BUSY_YAML = {  # small files that keep PyYAML's own safe loader busy for minutes, or for ever
    "merge by its tag": MERGES.replace("MERGE", '!!merge "\\x3c\\x3c"').encode(),
    "merge in utf-16": MERGES.replace("MERGE", "<<").encode("utf-16"),
    "base 60": b"a: 1" + b":1" * 500_000,
    "shorter base 60": b"a: 1" + b":1" * 90_000,
    "equal hashes": "".join(f"{i * (2**61 - 1)}: 0\n" for i in range(1, 60_000)).encode(),
    "endless key": b"? [&a [*a]]\n: 1",
    "many values": b"- 1\n" * 1_000_000,
}


@pytest.mark.parametrize("name", BUSY_YAML)
def test_yaml_that_would_take_for_ever_is_refused_at_once(tmp_path, name):
    start = time.process_time()
    with pytest.raises(DataError, match=r"a\.yaml: is no valid YAML"):
        safe.read_yaml(put(tmp_path, "a.yaml", BUSY_YAML[name]), tmp_path)
    assert time.process_time() - start < 3  # an idle machine takes at most a quarter of a second


def test_whole_numbers_of_64_bits_are_read_in_any_notation(tmp_path):
    path = put(
        tmp_path, "a.yaml", f"[{2**64 - 1}, {-(2**63)}, 1:30, 0x{2**64 - 1:x}, 0b{2**64 - 1:b}, 0o7, +1_0]".encode()
    )
    assert safe.read_yaml(path, tmp_path) == [2**64 - 1, -(2**63), 90, 2**64 - 1, 2**64 - 1, "0o7", 10]
    with pytest.raises(DataError, match="no whole number of 64 bits"):
        safe.read_yaml(put(tmp_path, "b.yaml", f"a: {2**64}".encode()), tmp_path)


def test_yaml_may_refer_to_a_value_twice(tmp_path):
    path = put(tmp_path, "a.yaml", b"a: &a [1, 2]\nb: *a\n")
    assert safe.read_yaml(path, tmp_path) == {"a": [1, 2], "b": [1, 2]}


def test_long_lines_are_read_once_their_depth_is_known(tmp_path):
    value = [list(range(2000)), "x" * 5000]
    assert safe.read_yaml(put(tmp_path, "a.yaml", json.dumps(value).encode()), tmp_path) == value


# --------------------------------------------------------------------------------------------------- npy and pickle
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_survive_a_pickle(place, value, protocol):
    assert safe.read_pickle(put(place, "a.pkl", pickle.dumps(value, protocol)), place) == value


@given(array=arrays, protocol=st.sampled_from(PROTOCOLS), fortran=st.booleans())
def test_arrays_survive_a_pickle_and_an_npy(place, array, protocol, fortran):
    array = np.asarray(array, order="F" if fortran else "C")
    pickled = safe.read_pickle(put(place, "a.pkl", pickle.dumps({"a": [array]}, protocol)), place)["a"][0]
    np.save(place / "a.npy", array)
    for got in (pickled, safe.read_npy(place / "a.npy", place)):
        assert got.dtype == array.dtype and got.shape == array.shape
        assert got.tobytes() == array.tobytes()


def test_an_npy_of_objects_gives_the_plain_value(tmp_path):
    value = {"a": np.arange(3), "b": [np.float32(1.5), {"c": np.array([{"d": 1}, None], dtype=object)}]}
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    got = safe.read_npy(tmp_path / "a.npy", tmp_path)
    assert got["b"][0] == 1.5 and got["b"][1]["c"][0] == {"d": 1}
    np.save(tmp_path / "b.npy", np.array([[1, "x"], [None, 2]], dtype=object), allow_pickle=True)
    assert safe.read_npy(tmp_path / "b.npy", tmp_path) == [[1, "x"], [None, 2]]
    np.save(tmp_path / "c.npy", 0)
    assert safe.read_npy(tmp_path / "c.npy", tmp_path) == 0


def test_what_is_shared_stays_shared(tmp_path):
    inner = [1]
    for _ in range(10):
        inner = [inner, inner]
    got = safe.read_pickle(put(tmp_path, "a.pkl", pickle.dumps(inner)), tmp_path)
    assert got == inner and got[0] is got[1]


class Calls:
    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def executed(*_):
    raise AssertionError("something in a file was executed")


UNSAFE = {
    "system": pickle.dumps(Calls(os.system, "true")),
    "eval": pickle.dumps(Calls(eval, "1")),
    "getattr": pickle.dumps(Calls(getattr, [], "append")),
    "own class": pickle.dumps(Calls(executed)),
    "instance": pickle.dumps(DataError("x", "y"), 2),
    "array of records": pickle.dumps(np.zeros(2, [("a", "f4")])),
    "function with state": pickle.dumps(Calls(np.dtype, "f8", state=(1, 2))),
    "state of a function": b"\x80\x04cnumpy\nndarray\n}\x8c\x01xK\x01sb.",
    "slots of a function": b"\x80\x04cnumpy\nndarray\nN}\x8c\x0c__setstate__K\x01s\x86b.",
    "memory by a shape": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"(J\xff\xff\xff\x7ftU\x01b\x87Rq\x00(K\x01(J\xff\xff\xff\x7ftcnumpy\ndtype\nU\x02f8K\x00K\x01\x87R\x89U\x00tb.",
    "long integer": b"\x80\x02\x8b" + struct.pack("<i", 100) + b"\x7f" * 100 + b".",
    "persistent": b"\x80\x02U\x01xQ.",
    "extension": b"\x80\x02\x82\x01.",
    "no end": b"\x80\x02K\x01",
    "empty": b"",
    "text": b"hello",
    "deep": b"]" * 150 + b"a" * 149 + b".",
    "key": b"\x80\x02}]K\x01s.",
    "makes more than it holds": b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x10\x00"
    + b"x" * (1 << 20)
    + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86q\x030"
    + b"h\x00h\x03R0" * 100
    + b"N.",
}


TWICE = b"K\x01\x94" + b"".join(b"0h%ch%c\x86\x94" % (k, k) for k in range(70))  # t = (t, t), 70 times
BUSY = {  # a hundred bytes are enough to keep `pickle`, or one who walks through what it made, busy for ever
    "key of keys": b"\x80\x04}" + TWICE + b"Ns.",
    "member of members": b"\x80\x04\x8f(" + TWICE + b"\x90.",
    "frozen member": b"\x80\x04(" + TWICE + b"\x91.",
    "walk": b"\x80\x04" + TWICE + b".",
    "equal hashes": b"\x80\x04}("
    + b"".join(
        b"(" + b"".join(b"J" + bytes([255 - (k >> b & 1)]) + b"\xff" * 3 for b in range(16)) + b"tN" for k in range(9)
    )
    + b"u.",
    "within itself": b"\x80\x04]\x94h\x00a.",
    "array within itself": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(K\x00tU\x01b\x87R\x94"
    b"(K\x01(K\x01tcnumpy\ndtype\nU\x01OK\x00K\x01\x87R(K\x03U\x01|NNNK\x00K\x00K\x3ftb\x89]h\x00atb.",
    "shape": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + TWICE + b"\x85NNNtb.",
    "byte order": b"\x80\x04cnumpy\ndtype\nU\x02f8\x85R(K\x03" + TWICE + b"tb.",
    "text of a number": b"\x80\x04cnumpy.core.multiarray\nscalar\n" + TWICE + b"N\x86R.",
    "dictionary of an array": b"\x80\x04ccollections\nOrderedDict\n"
    + pickle.dumps(np.zeros((2, 2)), 2)[2:-1]
    + b"\x85R.",
    "marks": b"(" * 2_000_000 + b".",
    "unfinished array": b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R.",
    "function": b"\x80\x04cnumpy\nndarray\n.",
    "function in a list": b"\x80\x04]cnumpy\nndarray\na.",
    "state of a dictionary": b"\x80\x04}}b.",
    "two values": b"\x80\x04K\x01K\x02.",
    "list for a dictionary": b"\x80\x04]K\x01K\x02s.",
    "dictionary for a list": b"\x80\x04}K\x01a.",
    "pop below a mark": b"\x80\x04K\x01(0t.",
    "set for a dictionary": b"\x80\x04\x8fK\x01K\x02s.",
    "state twice": pickle.dumps(np.arange(3), 2)[:-1] + b"(K\x03U\x01<NNNK\x00K\x00K\x00tb.",
    "objects again and again": b"\x80\x04]("
    + b"N" * 100_000
    + b"e\x94"
    + b"c__builtin__\nset\nh\x00\x85R0" * 200
    + b".",
}


@pytest.mark.parametrize("name", BUSY)
def test_pickles_that_would_take_for_ever_are_refused_at_once(tmp_path, name):
    start = time.process_time()
    with pytest.raises(DataError, match=r"a\.pkl: is no valid pickle"):
        safe.read_pickle(put(tmp_path, "a.pkl", BUSY[name]), tmp_path)
    assert time.process_time() - start < 3  # an idle machine takes a few milliseconds


def test_a_note_of_a_large_number_takes_no_memory(tmp_path):
    tracemalloc.start()
    assert safe.read_pickle(put(tmp_path, "a.pkl", b"\x80\x02]r\xff\xff\xff\x7f."), tmp_path) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_sets_and_ordered_dictionaries_are_plain(tmp_path):
    value = {"s": {1, "a", None}, "f": frozenset([2.5]), "o": collections.OrderedDict(b=1, a=[2])}
    for protocol in PROTOCOLS:
        got = safe.read_pickle(put(tmp_path, "a.pkl", pickle.dumps(value, protocol)), tmp_path)
        assert got == value and list(got["o"]) == ["b", "a"]


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_pickles_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"a\.pkl: is no valid pickle"):
        safe.read_pickle(put(tmp_path, "a.pkl", UNSAFE[name]), tmp_path)


def npy(header, body=b""):
    text = header.encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x09\x00",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", b"\0" * 15),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", b"\0" * 17),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}", UNSAFE["system"]),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}"),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b"\0" * 4),
        npy("__import__('os')"),
        npy("{"),
    ],
)
def test_bad_npy_is_named(tmp_path, data):
    with pytest.raises(DataError, match=r"a\.npy: is no valid \.npy file"):
        safe.read_npy(put(tmp_path, "a.npy", data), tmp_path)


def test_a_broken_header_is_told_by_the_error_alone(tmp_path):
    data = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1for,)}")
    with (
        pytest.raises(DataError, match=r"a\.npy: is no valid \.npy file"),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        safe.read_npy(put(tmp_path, "a.npy", data), tmp_path)
    assert told == []


def test_nothing_stays_changed_after_a_refused_pickle(tmp_path):
    for data in UNSAFE.values():
        with pytest.raises(DataError):
            safe.read_pickle(put(tmp_path, "a.pkl", data), tmp_path)
    good = put(tmp_path, "b.pkl", pickle.dumps(np.arange(4)))
    assert safe.read_pickle(good, tmp_path).tolist() == [0, 1, 2, 3]
