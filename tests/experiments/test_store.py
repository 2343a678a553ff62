"""Result shards: what is kept, what is found again, and what is not."""

from __future__ import annotations

import json
import socket
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from robosac.evaluation.ap import TP, FrameMatches
from robosac.evaluation.metrics import FrameRecord
from robosac.experiments import provenance
from robosac.experiments.store import FORMAT, Done, Shard, Store, defense_key, shard_key
from robosac.fingerprint import Reader, fingerprint
from robosac.lock import alone_in
from robosac.types import InputError

KEY = {"scene": "s", "attackers": 2}
MATCHES = FrameMatches((0.5,), np.array([0.75], np.float32), np.array([[TP]], np.int8), 1)
RECORD = FrameRecord("s", 3, frozenset("a"), frozenset("ab"), frozenset("b"), frozenset(), 4, 3, {}, False, {}, MATCHES)
DONE = Done(seconds=1.5, kind="city", making_ms=2.5, records=(RECORD,))


def plain(shard: Shard) -> object:
    return json.loads(shard.model_dump_json())


def test_what_is_added_is_read_again_beside_what_was_there(tmp_path: Path) -> None:
    Store(tmp_path).add(KEY, {"b": DONE})
    Store(tmp_path).add(KEY, {"a": Done(cannot="too few")})
    shard = Store(tmp_path).read(KEY)
    assert list(shard.done) == ["a", "b"] and shard.key == KEY and shard.format == FORMAT
    assert shard.done["a"] == Done(cannot="too few")
    assert plain(shard) == plain(Shard(key=KEY, done={"a": Done(cannot="too few"), "b": DONE}))
    (file,) = tmp_path.iterdir()
    Store(tmp_path).add(KEY, {"b": Done(kind="again")})  # the later stands
    assert Store(tmp_path).read(KEY).done["b"].kind == "again" and [*tmp_path.iterdir()] == [file]


def test_another_key_has_another_shard_and_the_order_of_a_key_is_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(KEY, {"a": DONE})
    store.add({**KEY, "attackers": 3}, {})
    assert len(list(tmp_path.glob("*.json"))) == 2 and store.read({**KEY, "attackers": 3}).done == {}
    assert list(store.read(dict(reversed(KEY.items()))).done) == ["a"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"format": 2, "key": {}, "done": {"a": 7}}', "\xff"])
def test_what_cannot_be_read_is_done_again(text: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read(KEY) == Shard(key=KEY)
    store.add(KEY, {"a": DONE})
    (file,) = tmp_path.iterdir()
    file.write_bytes(text.encode("latin-1"))
    assert store.read(KEY) == Shard(key=KEY)
    store.add(KEY, {"b": DONE})
    assert list(store.read(KEY).done) == ["b"]


def test_a_sweep_removes_what_killed_writers_left_and_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(KEY, {"a": DONE})
    (whole,) = tmp_path.iterdir()
    others = [tmp_path / name for name in (".lock", "notes.txt", ".hidden.json")]
    for path in (*others, tmp_path / f".{whole.name}.x8d2k", tmp_path / f".{whole.name}.abc"):
        path.write_text("half")
    store.sweep()
    assert {*tmp_path.iterdir()} == {whole, *others}
    Store(tmp_path / "not made yet").sweep()


def test_everything_that_decides_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = shard_key(scene="s", attackers=2)
    assert key == {"versions": provenance.versions(), "format": FORMAT, "scene": "s", "attackers": 2}
    monkeypatch.setattr(provenance, "versions", lambda: {"robosac": "another"})
    assert shard_key(scene="s", attackers=2) == {**key, "versions": {"robosac": "another"}}


def test_a_defence_is_another_by_label_settings_or_calibration() -> None:
    reader = Reader()  # one for all, as an experiment has
    asked = (("l", "s", "c"), ("x", "s", "c"), ("l", "x", "c"), ("l", "s", "x"), ("l", "s", None))
    keys = [defense_key(*d, reader) for d in asked]
    assert all(a != b for a, b in combinations(keys, 2))
    assert keys == [fingerprint(*d) for d in asked] == [defense_key(*d, reader) for d in asked]


@pytest.mark.parametrize("held", ['{"pid": "x"}', '{"pid": [1]}', "[]", "{"])
def test_a_lock_that_says_nonsense_is_somebodys(held: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(held.replace("{", f'{{"host": "{socket.gethostname()}", ', 1))
    with pytest.raises(InputError, match="another run is at work there"), alone_in(tmp_path):
        pass
