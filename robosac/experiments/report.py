"""The pages about an experiment: of an evaluation, and of a demo with its frames."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from robosac.experiments.demo import DemoResult, Row, attack_in_words, blocks_of, notes_of
from robosac.experiments.entries import Entry
from robosac.experiments.figures import DEFAULTS, demo_figures
from robosac.experiments.notes import notes
from robosac.experiments.pictures import Shot
from robosac.experiments.settings import Grid
from robosac.experiments.tables import COLUMNS, LEGEND, blocks, legend, row, without_certificates
from robosac.files import write_whole
from robosac.viz.report import Column, Example, Image, ReportData, Table, write_report

_SHOWN: Final = (
    "defense", "attackers", "ap50", "ap50_low", "ap50_high", "ap70", "certified_1", "certified_2", "boxes",
    "tpr_excluded", "fpr_excluded", "tpr_accused", "fpr_accused", "auc", "decodes", "kb", "ms", "refused", "skipped",
)  # fmt: skip
_DEMO_SHOWN: Final = (
    "defense", "ap30", "ap50", "ap50_low", "ap50_high", "ap70", "tpr_excluded", "fpr_excluded", "tpr_accused",
    "fpr_accused", "decodes", "ms",
)  # fmt: skip
_CAPTIONS: Final = {
    "ap-over-attackers": "AP@0.5 against the number of attackers; bands are 95 % intervals over scenes.",
    "ap-over-epsilon": "AP@0.5 against the attack's budget.",
    "ap-over-trials": "AP@0.5 against the trials that a frame may take.",
    "ap-over-range": "AP@0.5 by distance from the ego, with the most attackers that each attack was played with.",
}


def _columns(keys: Sequence[str]) -> list[Column]:
    specs = {k: COLUMNS[k] for k in keys}
    return [
        Column(k, heading, numeric=bool(spec), decimals=int(spec[1]) if spec.startswith(".") else 0)
        for k, (heading, spec) in specs.items()
    ]


def page(
    grid: Grid,
    entries: Sequence[Entry],
    pngs: dict[str, bytes],
    command: str,
    versions: dict[str, str],
    shots: Sequence[Shot] = (),
) -> ReportData:
    """What an evaluation's report holds."""
    played = [e for e in entries if e.summary is not None]
    rows = [{"block": title, **row(e)} for title, block in blocks(entries) for e in block]
    charts = [Image(png, _CAPTIONS[name], _CAPTIONS[name], wide=True) for name, png in pngs.items()]
    return ReportData(
        title="What the defences withstand",
        subtitle=f"{len(entries)} cells, {', '.join(grid.dataset)}, detectors {', '.join(grid.detector)}",
        summary=[*_summary(played, len(entries)), *notes(entries)],
        table=Table(_columns(without_certificates(entries, _SHOWN)), rows, caption=legend(entries), group_by="block"),
        charts=charts,
        examples=_examples(shots),
        command=command,
        config=grid.to_yaml(),
        versions=versions,
    )


def _summary(played: Sequence[Entry], n_cells: int) -> list[str]:
    lines = [f"{len(played)} of {n_cells} cells were played; one that cannot be says why in its last column."]
    scored = [(ap.value, e) for e in played if e.cell.m and (ap := e.summary and e.summary.ap.get(0.5))]
    for name in dict.fromkeys(e.cell.defense.label for _, e in scored):
        value, worst = min((s for s in scored if s[1].cell.defense.label == name), key=lambda s: s[0])
        where = f"{worst.cell.detector}, {worst.cell.attack_label}, {worst.cell.m} attackers"
        lines.append(f"The lowest AP@0.5 of “{name}” is {value:.3f} ({where}).")
    return lines


def write_demo(result: DemoResult, out: Path, *, command: str, environment: dict[str, Any]) -> list[Path]:
    """Write result.json, frames.json, the PNGs and report.html into `out`; each appears whole or not at all. The page
    is first. What pictures of single frames want is in frames.json, the table and how it came to be in result.json.
    """
    found = result.to_dict(command, environment)
    pngs = demo_figures(result)
    write_whole(out / "frames.json", (json.dumps({"frames": found.pop("frames")}) + "\n").encode())
    write_whole(out / "result.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, png in pngs.items():
        write_whole(out / f"{name}.png", png)
    page = write_report(out / "report.html", demo_page(result, pngs, found))
    return [page, out / "result.json", out / "frames.json", *(out / f"{name}.png" for name in pngs)]


def demo_page(result: DemoResult, pngs: dict[str, bytes], found: dict[str, Any]) -> ReportData:
    """What a demo's report holds; `found` is its `result.json`."""
    s = result.settings
    ap = Image(
        pngs["ap"], "Bars of AP@0.5 for every policy and number of attackers, values as in the table.", wide=True
    )
    every = [(title, r) for title, block in blocks_of(result).items() for r in block]
    rows = [{**r.flat(), "block": title} for title, r in every]
    return ReportData(
        title="One of them attacks",
        subtitle=(
            f"{s.scenes * s.frames} frames of {s.scenes} held-out simulated scenes, detector {s.detector}, "
            f"attack {attack_in_words(result)}"
        ),
        summary=[*_demo_summary(result), *notes_of(result, warned=True)],
        table=Table(
            columns=[*_columns(_DEMO_SHOWN), Column("recovered", "gap %", decimals=0)],
            rows=rows,
            caption=f"{LEGEND} Gap: share of the way from ego only to the oracle that is recovered, AP@0.5.",
            group_by="block",
            emphasise=frozenset(i for i, (_, r) in enumerate(every) if r.summary.policy in DEFAULTS),
        ),
        charts=[ap],
        examples=_examples(result.shots),
        budget=Image(
            pngs["budget"],
            "Probability that a subset without attackers was drawn, against the number of trials, under each law.",
            "Two of five attack, subsets of three: the formula claims the dashed line, its draws follow the full one; "
            "without repeats ten trials are certain. `robosac budget` has any other case.",
        ),
        command=found["command"],
        config=json.dumps(found["config"], indent=2),
        versions=found["environment"]["versions"],
    )


def _ap(rows: Sequence[Row]) -> Callable[[str], str]:
    """Policy -> its AP@0.5 in these rows, in words."""
    ap = {r.summary.policy: e.value for r in rows if (e := r.summary.ap[0.5]) is not None}
    return lambda policy: f"{ap[policy]:.3f}" if policy in ap else "undefined"


def _demo_summary(result: DemoResult) -> list[str]:
    m = max(r.attackers for r in result.rows)
    get, knowing = _ap([r for r in result.rows if r.attackers == m]), _ap(result.knowing)
    known = [
        f"Who knows every rule of the defence ({result.settings.knowing}, {m} attackers, {r.summary.scenes} scenes) "
        f"leaves {knowing(DEFAULTS[1])}, where the oracle has {knowing('oracle')} and the ego alone "
        f"{knowing('ego only')}."
        for r in result.knowing[:1]
    ]
    return [
        f"Alone, the ego reaches an AP@0.5 of {get('ego only')}; with all its teammates honest, {get('all honest')}.",
        f"When {m} of its teammates attack and nobody checks, that falls to {get('no defence')}.",
        f"With robosac it is {get(DEFAULTS[0])} if the number of attackers is known, {get(DEFAULTS[1])} if it is not; "
        f"the paper's own settings give {get('robosac, as in paper')}, and knowing the attackers {get('oracle')}.",
        *known,
        "How to read it: “count known” is told how many attack at most, “oracle” who attacks; “gap” is the share of "
        "the way from ego only to the oracle; a “decode” is one pass of fusion and detection. The attack changes "
        "each feature that is sent by at most its epsilon, along the detector's gradient (see below).",
    ]


def _examples(shots: Sequence[Shot]) -> list[Example]:
    examples = []
    columns = [
        Column("policy", "policy", numeric=False),
        Column("ap50", "AP@0.5 of this frame"),
        Column("used", "fused with", numeric=False),
        Column("accused", "accused", numeric=False),
        Column("trials", "trials", decimals=0),
        Column("corroborated boxes", "corroborated boxes", numeric=False),
        Column("certified at 1 / 2", "certified at 1 / 2", numeric=False),
        Column("reason", "why", numeric=False),
    ]
    for shot in shots:
        images = [Image(shot.panels, f"{shot.title} from above under each policy. {shot.text}", wide=True)]
        images += [
            Image(png, f"Agreement with the ego for each trial of {policy}.", f"Trials of {policy}")
            for policy, png in shot.trials.items()
        ]
        examples.append(Example(shot.title, shot.text, images, Table(columns, shot.rows)))
    return examples
