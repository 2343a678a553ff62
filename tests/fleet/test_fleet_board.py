"""The fleet board: a frozen protocol, a budget that marks, rows that lack runs are not ranked, pages, entries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from robosac.cli import main
from robosac.cli.fleet import Asked, study_of
from robosac.experiments.fleet.entry import FleetEntry, entries_of, merged, read_entries, read_entry, write_entry
from robosac.experiments.fleet.page import fleet_page, lacking, rows, to_markdown
from robosac.experiments.fleet.protocol import SHIPPED, FleetProtocol, read_protocol
from robosac.experiments.fleet.settings import LANGUAGE, VEHICLES, FleetSettings
from robosac.experiments.provenance import versions
from robosac.types import InputError
from robosac.viz.board import render

ROOT = Path(__file__).parents[2]
HASHES = {
    ("fleet", 1): "e8a0ae6ed67a"
}  # another hash under an old version: raise the version, figures are not comparable
P = read_protocol()


def run(
    method: str = "flexlora", seed: int = 0, value: float = 60.0, mb: float = 10.0, **changes: Any
) -> dict[str, Any]:
    """What `robosac fleet` wrote of a row."""
    settings = replace(P.tracks["tiny-lm"].settings, method=method, seed=seed, **changes)
    return {
        "title": settings.title,
        "settings": settings.plain(),
        "attackers": ["facts-1"] * settings.attackers,
        "figures": {"all": {"accuracy": value}, "facts": {"accuracy": value - 10}},
        "bytes": int(mb * 1e6),
        "server_s": 0.1,
        "seconds": 3.0,
        "peak_mb": 500,
        "left_out": {"attackers": 100.0 if settings.attack else None, "honest": 5.0},
        "refused": {"3": {"facts-2": "NaN"}},
    }


def entries(*made: dict[str, Any]) -> list[FleetEntry]:
    return entries_of(P, "tiny-lm", made, versions())


# ------------------------------------------------------------------------------------------------------ the protocol
def test_the_shipped_protocol_is_frozen_and_as_wide_as_the_page_says() -> None:
    assert HASHES[P.name, P.version] == P.hash
    assert P.seeds >= 3 and P.attackers == (0, 1, 2) and len(P.attacks) == 6 and "consensus" in P.defenses
    detector, language = (P.tracks[name].settings for name in ("detector", "tiny-lm"))
    assert detector == FleetSettings() and len(VEHICLES) == 6 and detector.rounds == 30
    assert language.vehicles == LANGUAGE and {d for d, _ in LANGUAGE} == {"arithmetic", "reversal", "sorting", "facts"}
    assert study_of(Asked(model="tiny-lm")).base == language  # what the plain command does is the protocol


def changed(**other: Any) -> FleetProtocol:
    return FleetProtocol.model_validate({**P.model_dump(), **other})


def test_everything_in_it_is_in_the_hash() -> None:
    tracks = P.model_dump()["tracks"]
    lower = {**tracks, "tiny-lm": {**tracks["tiny-lm"], "budget_mb": 99.0}}
    others = [changed(seeds=4), changed(version=2), changed(tracks=lower), changed(methods=("base",))]
    assert len({p.hash for p in (P, *others)}) == 5


@pytest.mark.parametrize(
    ("other", "words"),
    [({"seeds": 0}, "seeds: Input"), ({"tracks": {}}, "tracks: "), ({"moon": 1}, "moon: Extra"), ("moon", "protocol")],
)
def test_what_is_wrong_with_a_protocol_is_said(other: Any, words: str, tmp_path: Path) -> None:
    held = {**yaml.safe_load(SHIPPED.read_text()), **other} if isinstance(other, dict) else other
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(held))
    with pytest.raises(InputError, match=words):
        read_protocol(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"board": "moon"}, "expected a track of the fleet board, detector or tiny-lm"),
        ({"board": "detector", "lr": 0.1}, "left out beside --board, got --lr"),
        ({"board": "tiny-lm", "model": "tiny-lm", "fast": True}, "got --fast, --model"),
        ({"board": "tiny-lm", "rounds": 21}, "at most 20 rounds with --board tiny-lm"),
    ],
)
def test_what_the_board_fixes_cannot_be_asked_for(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        study_of(Asked(**asked))


def test_rows_of_other_settings_do_not_enter() -> None:
    for odd, words in (({"lr": 0.1}, "got lr 0.1"), ({"rounds": 21}, "rounds 21"), ({"frames": (1, 1, 1)}, "frames")):
        with pytest.raises(InputError, match=words):
            entries(run(**odd))


# ----------------------------------------------------------------------------------------------------------- entries
def test_an_entry_is_its_file(tmp_path: Path) -> None:
    for made in entries(run("base"), run(attack="noise", attackers=1, defense="consensus")):
        path = write_entry(tmp_path, made)
        assert json.loads(path.read_text())["protocol"]["hash"] == P.hash
        assert read_entry(path).model_dump(mode="json") == made.model_dump(mode="json")
    assert [e.command for e in read_entries(tmp_path)] == [
        "robosac fleet --board tiny-lm --method base --seeds 1",
        "robosac fleet --board tiny-lm --attack noise --attackers 1 --defense consensus --method '' --seeds 1",
    ]
    assert read_entries(tmp_path / "none") == []


def test_seeds_add_up_and_less_never_takes_the_place_of_more(tmp_path: Path) -> None:
    for seed in (1, 0):
        path = write_entry(tmp_path, entries(run(seed=seed))[0])
    whole = read_entry(path)
    assert [r.seed for r in whole.seeds] == [0, 1]
    fewer = entries(run(rounds=3))[0]
    assert merged(fewer, whole) == whole and merged(whole, fewer).rounds == 20
    other = fewer.model_copy(update={"protocol": {"name": "fleet", "version": 0, "hash": "x"}})
    assert merged(other, whole.model_copy(update={"notes": ("mind",)})).notes == ("mind",)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1, "protocol": {}, "track": "x", "title": "x"}'])
def test_files_that_are_no_entry_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="to be an entry of the fleet board"):
        read_entries(tmp_path)


def test_figures_that_are_not_finite_are_no_entry() -> None:
    with pytest.raises(ValueError, match="finite"):
        entries(run(value=float("nan")))


# -------------------------------------------------------------------------------------------------------------- rows
def test_who_is_ranked_and_who_is_not() -> None:
    three = range(3)
    made = entries(
        *(run("base", s, 40.0, 0.0) for s in three),
        *(run("flexlora", s, 60.0 + s) for s in three),
        *(run("hetlora", s, 70.0) for s in three),
        *(run("full", s, 90.0, 600.0) for s in three),
        *(run("lowest", s, 80.0) for s in three[:2]),
        *(run(seed=s, attack="noise", attackers=1) for s in three),
        run("highest", 0, 50.0, 60.0, rounds=10),
    )
    found = {r.title: r for r in rows(made, P)}
    ranks = {title: r.cells["rank"].sort for title, r in found.items() if r.cells["rank"].sort is not None}
    assert ranks == {"hetlora": 1, "flexlora": 2}
    assert (
        found["full"].cells["budget"].text == "OVER 100 MB"
        and found["flexlora"].cells["budget"].text == "within 100 MB"
    )
    assert found["highest"].cells["budget"].text == "OVER 100 MB"  # 60 MB in half of the rounds
    assert found["lowest"].cells["rank"].beside == "20 of 20 rounds, 2 of 3 seeds" and not found["lowest"].whole
    assert found["flexlora"].cells["gain"].sort == 21.0 and found["base"].cells["gain"].sort is None
    assert found["flexlora, 1 x noise"].cells["poisoned"].sort == 100.0 and found["flexlora, 1 x noise"].whole
    other = made[0].model_copy(update={"protocol": {"name": "fleet", "version": 0, "hash": "x"}})
    assert lacking(other, P) == "another protocol"


def test_the_page_says_what_it_must_and_every_text_is_escaped() -> None:
    made = entries(run(), run(attack="noise", attackers=1))
    made[0] = made[0].model_copy(update={"notes": ("<b>mind</b>",)})
    page = render(fleet_page(made, Path("results"), P))
    assert "&lt;b&gt;mind" in page and "<b>mind" not in page
    for words in (
        P.hash,
        "poisoned out %",
        "within 100 MB",
        "by domain: facts 50.0",
        "messages refused: 1",
        "attack-noise",
    ):
        assert words in page
    table = to_markdown(made, P)
    assert table.startswith("## Fleets\n\n### ") and "\n### tiny-lm (protocol" in table
    assert "| flexlora, 1 x noise |" in table and "\n- gain: The figure less that of the model before tuning" in table


def test_the_shipped_entries_are_of_the_protocol_and_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = read_entries(ROOT / "results" / "fleet")
    assert held and all(e.protocol == P.plain for e in held)
    for e in held:
        assert P.why_not(e.track, e.row) == ""
    with pytest.raises(SystemExit, match="0"):
        main(["leaderboard", "--results", str(ROOT / "results"), "--out", str(tmp_path), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert len(said["fleet"]) == len(held) and (tmp_path / "fleet.html").exists() and (tmp_path / "fleet.md").exists()
