"""Work of a study is done once for each item, and again where what decides it is another."""

from functools import partial

import pytest

from robosac.executors import Processes, Serial
from robosac.experiments.studies import study
from robosac.types import InputError

calls = []


def squared(item, *, plus=0):
    calls.append(item)
    return {"squared": item * item + plus}


@pytest.fixture(autouse=True)
def forget():
    calls.clear()


def values(*args, **more):
    return [found["squared"] for found in study(*args, **more)]


def test_what_is_done_is_not_done_again(tmp_path):
    told = []
    assert values(squared, [1, 2], tmp_path, Serial()) == [1, 4] and calls == [1, 2]
    assert values(squared, [3, 2, 1], tmp_path, Serial(), tell=lambda *n: told.append(n)) == [9, 4, 1]
    assert calls == [1, 2, 3] and told == [(2, 3), (3, 3)]
    assert values(squared, [1, 2, 3], tmp_path / "new", Processes(jobs=2)) == [1, 4, 9]


@pytest.mark.parametrize("change", [{"decides": "other weights"}, {"work": partial(squared, plus=1)}])
def test_what_decides_it_is_part_of_its_name(change, tmp_path):
    values(squared, [2], tmp_path, Serial())
    (found,) = values(change.get("work", squared), [2], tmp_path, Serial(), decides=change.get("decides"))
    assert calls == [2, 2] and found == (5 if "work" in change else 4)


def test_a_folder_that_cannot_be_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is a file"):
        study(squared, [1], tmp_path / "file", Serial())
    assert calls == []
