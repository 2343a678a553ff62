"""What honest frames are asked: claims and strain as statistics."""

from __future__ import annotations

from typing import Any

from robosac.calibration import Statistic
from robosac.evidence import Consistency, Showing, SoleClaims, WithMembers
from robosac.evidence.consistency import strain
from robosac.evidence.statistics import singles_of
from tests.defenses.scripted import EGO, Scripted
from tests.evidence.written import result

SEEN = {"": [], "a": [(10, 0), (20, 0), (30, 0)], "b": [(10, 0), (40, 0)], "c": [(40, 0)]}
SUBSETS = [frozenset("a"), frozenset("ab"), frozenset("abc"), frozenset("bc")]


def session() -> Scripted:
    """Fusion is the union, but that of all loses what b and c show."""
    return Scripted("abc", lambda s: result(*{at for i in s for at in SEEN[i] if len(s) < 3 or at[0] < 40}))


def test_claims_by_hand() -> None:
    asked = session()
    one, two = SoleClaims(), SoleClaims(together=2)
    assert one.scores(asked, EGO, None, SUBSETS) == [-3, -2, -2, -1]
    assert two.scores(asked, EGO, None, SUBSETS) == [0, -1, -1, -1]
    assert set(asked.decoded) == {frozenset(s) for s in ("", "a", "b", "c")}  # singles alone


def test_strain_is_that_of_the_subsets_results() -> None:
    asked = session()
    found = WithMembers().scores(asked, EGO, None, SUBSETS)
    assert found[0] == found[1] == found[3] == 0 > found[2]
    shown = singles_of(asked, "abc", Showing())
    whole = strain(shown, frozenset("abc"), asked.decoded[frozenset("abc")])
    assert found[2] == -Consistency().of(whole) and whole.gone == 2 / 9


def test_names_say_all_settings_and_all_are_asked_of_disturbed_frames() -> None:
    asked: list[Any] = [SoleClaims(), SoleClaims(together=2), SoleClaims(showing=Showing(score=0.3)), WithMembers()]
    asked += [WithMembers(consistency=Consistency(extra=3)), WithMembers(showing=Showing(same=0.4))]
    assert len({s.name for s in asked}) == 6
    assert all(isinstance(s, Statistic) and s.disturbed for s in asked)
