"""PCD of every kind against what was put in, against broken headers, and against the samples' real files."""

import struct

import lzf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac import pcd
from robosac.data import safe
from robosac.data.recording import DataError
from robosac.types import InputError
from tests.data.samples import SAMPLES

KINDS = ["f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]


def written(columns, data, *, header=()):
    """A PCD file by the format's own words, with entries of the header replaced."""
    dtypes = {name: c.dtype for name, c in columns.items()}
    n = len(next(iter(columns.values())))
    entries = {
        "VERSION": ".7",
        "FIELDS": " ".join(columns),
        "SIZE": " ".join(str(d.itemsize) for d in dtypes.values()),
        "TYPE": " ".join(d.kind.upper() for d in dtypes.values()),
        "COUNT": " ".join(str(c.shape[1] if c.ndim > 1 else 1) for c in columns.values()),
        "WIDTH": str(n),
        "HEIGHT": "1",
        "POINTS": str(n),
        "DATA": data,
        **dict(header),
    }
    text = "# a comment\n" + "".join(f"{k} {v}\n" for k, v in entries.items() if v is not None)
    flat = [c.reshape(n, c[0].size if n else 1) for c in columns.values()]
    if data == "ascii":
        rows = ("".join(" ".join(repr(v) for v in part[i].tolist()) + " " for part in flat) for i in range(n))
        body = "\n".join(rows).encode() + b"\n"
    elif data == "binary":
        body = b"".join(part[i].tobytes() for i in range(n) for part in flat)
    else:
        raw = b"".join(part.tobytes() for part in flat)
        squeezed = lzf.compress(raw, 2 * len(raw) + 64) or b""
        body = struct.pack("<II", len(squeezed), len(raw)) + squeezed
    return text.encode() + body


def columns_of(seed, kinds, n, counts):
    rng = np.random.default_rng(seed)
    out = {}
    for i, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
        shape = (n,) if count == 1 else (n, count)
        if kind[0] == "f":
            out[f"c{i}"] = rng.normal(0, 50, shape).astype(kind)
        else:
            info = np.iinfo(kind)
            out[f"c{i}"] = rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
    return out


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    n=st.integers(0, 30),
    data=st.sampled_from(["ascii", "binary", "binary_compressed"]),
    wide=st.booleans(),
)
def test_every_kind_gives_back_what_was_put_in(seed, kinds, n, data, wide):
    columns = columns_of(
        seed, kinds, n, [3 if wide and i == 1 else 1 for i in range(len(kinds))] if n else [1] * len(kinds)
    )
    got = pcd.decode(written(columns, data))
    assert list(got.columns) == list(columns) and len(got) == n
    for name, column in columns.items():
        assert got.columns[name].dtype == column.dtype and got.columns[name].shape == column.shape
        np.testing.assert_array_equal(got.columns[name], column)


@given(seed=st.integers(0, 2**32), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6), n=st.integers(0, 30))
def test_what_we_write_is_read_back(seed, kinds, n):
    columns = columns_of(seed, kinds, n, [1] * len(kinds))
    got = pcd.decode(pcd.encode(columns)).columns
    for name, column in columns.items():
        np.testing.assert_array_equal(got[name], column)


XYZ = {"x": np.arange(3, dtype="f4"), "y": np.ones(3, "f4"), "i": np.array([7, 8, 9], "u1")}


def test_not_a_number_is_a_value_and_padding_is_left_out():
    columns = {"x": np.array([np.nan, 1], "f4"), "_": np.zeros((2, 3), "u1"), "y": np.array([2, np.inf], "f8")}
    for data in ("ascii", "binary", "binary_compressed"):
        got = pcd.decode(written(columns, data)).columns
        assert list(got) == ["x", "y"]
        np.testing.assert_array_equal(got["x"], columns["x"])
        np.testing.assert_array_equal(got["y"], columns["y"])


def test_an_organised_cloud_and_a_header_without_points():
    assert len(pcd.decode(written(XYZ, "binary", header={"WIDTH": "3", "HEIGHT": "1", "POINTS": None}))) == 3
    four = {"x": np.arange(4, dtype="f4")}
    assert len(pcd.decode(written(four, "binary", header={"WIDTH": "2", "HEIGHT": "2"}))) == 4


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"POINTS": "4", "WIDTH": "4"}, "truncated|numbers"),
        ({"POINTS": "1000000000000", "WIDTH": "1000000000000"}, "more than"),
        ({"POINTS": "-1", "WIDTH": "-1"}, "POINTS"),
        ({"POINTS": "3", "WIDTH": "2"}, "WIDTH x HEIGHT"),
        ({"POINTS": "9" * 5000}, "ValueError"),
        ({"SIZE": "4 4"}, "SIZE"),
        ({"SIZE": "4 3 1"}, "KeyError"),
        ({"TYPE": "F F X"}, "KeyError"),
        ({"COUNT": "1 1 0"}, "COUNT"),
        ({"COUNT": "1 1 100000"}, "COUNT"),
        ({"FIELDS": "x x i"}, "x"),
        ({"FIELDS": None}, "FIELDS"),
        ({"FIELDS": " ".join(["a"] * 100)}, "100 FIELDS"),
        ({"DATA": "binary_squeezed"}, "DATA"),
        ({"DATA": ""}, "DATA"),
    ],
)
@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_a_broken_header_is_named(tmp_path, header, why, data):
    (tmp_path / "a.pcd").write_bytes(written(XYZ, data, header=header))
    with pytest.raises(DataError, match=rf"a\.pcd: is no valid PCD file .*({why}|take \d+ bytes)"):
        safe.read_pcd(tmp_path / "a.pcd", tmp_path)


def test_more_than_any_sensor_sees_is_refused(monkeypatch):
    few = {"FIELDS": "x", "TYPE": "U", "SIZE": "1", "COUNT": "1", "WIDTH": "10000001", "POINTS": "10000001"}
    whole = written(XYZ, "binary", header=few).partition(b"DATA binary\n")
    with pytest.raises(ValueError, match="10000001 points are more than 10000000"):
        pcd.decode(whole[0] + whole[1] + bytes(10_000_001))
    monkeypatch.setattr(pcd, "_ASCII_LIMIT", 20)
    monkeypatch.setattr(pcd, "_EXACT_LIMIT", 10)
    for kind, most in (("f4", 20), ("u8", 10)):
        with pytest.raises(ValueError, match=f"bytes of text are more than {most}"):
            pcd.decode(written({"x": np.arange(20).astype(kind)}, "ascii"))


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_a_truncated_file_is_named_wherever_it_ends(tmp_path, data):
    whole = written(XYZ, data)
    ends_in_blank = 2 if data == "ascii" else 0  # the last separator is nobody's loss
    for end in range(len(whole) - ends_in_blank):
        (tmp_path / "a.pcd").write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"a\.pcd"):
            safe.read_pcd(tmp_path / "a.pcd", tmp_path)


@pytest.mark.parametrize(
    "body", [b"1 2 3\n4 5 x\n7 8 9\n", b"1 2 3\n4 5 6\n7 8\n", b"1 2 3\n4 5 6\n7 8 9 10\n", b"1 2 -1\n4 5 6\n7 8 9\n"]
)
def test_ascii_that_is_no_number_or_too_many(body):
    head = written(XYZ, "ascii").partition(b"DATA ascii\n")
    with pytest.raises(ValueError, match=r"numbers|unmatched data"):
        pcd.decode(head[0] + head[1] + body)


def test_damaged_compression_is_told():
    whole = bytearray(written({"x": np.zeros(500, "f4")}, "binary_compressed"))
    whole[-3] ^= 0xFF
    with pytest.raises(ValueError, match="damaged"):
        pcd.decode(bytes(whole))


def test_the_red_byte_of_a_packed_colour():
    bits = np.array([0x00FF8040, 0x00010203, 0], np.uint32)
    for rgb in (bits, bits.view(np.float32), bits.astype(np.int32)):
        np.testing.assert_array_equal(pcd.colour(rgb), [255, 1, 0])


@pytest.mark.parametrize(
    "columns",
    [{"x": np.zeros(2), "y": np.zeros(3)}, {"x": np.array(["a"])}, {"x": np.zeros((2, 2))}, {"x": np.zeros(2, "f2")}],
)
def test_what_pcd_cannot_hold_is_not_written(columns):
    with pytest.raises(InputError, match="expected"):
        pcd.encode(columns)


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
def test_the_samples_hold_as_many_points_as_they_say():
    files = sorted(SAMPLES.rglob("*.pcd"))
    assert len(files) >= 30
    for path in files:
        cloud = safe.read_pcd(path, SAMPLES)
        assert 30_000 < len(cloud) < 100_000 and {"x", "y", "z"} <= set(cloud.columns), path
        assert all(len(c) == len(cloud) for c in cloud.columns.values())
        assert np.isfinite(cloud.columns["x"]).mean() > 0.9
