"""The demo's report: what happened, the table, the pictures, the budget, how to get it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from robosac.demo.table import CAPTION, COLUMNS, Row
from robosac.viz.budget_plot import plot_budget
from robosac.viz.canvas import png_bytes
from robosac.viz.charts import ap_figure
from robosac.viz.report import Column, Example, Image, ReportData, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robosac.demo.run import DemoResult

DEFAULTS = ("robosac, count known", "robosac, count unknown")


def figures(result: DemoResult) -> dict[str, bytes]:
    """All pictures by file name (without ending)."""
    made = {"ap": png_bytes(_ap(result.rows)), "budget": png_bytes(_budget())}
    shots = [shot for scene in result.scenes for shot in scene.shots]
    for k, shot in enumerate(shots):
        made[f"frame-{k}"] = shot.panels
        made[f"frame-{k}-strip"] = shot.strip
        for policy, png in shot.trials.items():
            made[f"frame-{k}-trials-{policy.replace(', ', '-').replace(' ', '-')}"] = png
    return made


def page(result: DemoResult, pngs: dict[str, bytes]) -> ReportData:
    """The report's content."""
    s = result.settings
    scenes, frames = s.scenes, s.scenes * s.frames
    columns = [
        Column(key, label, numeric=key not in ("policy", "interval"), decimals=int(spec[1]) if spec else 0)
        for key, (label, spec) in COLUMNS.items()
    ]
    table = Table(
        columns=columns,
        rows=[row.flat() for row in result.rows],
        caption=CAPTION,
        group_by="block",
        emphasise=frozenset(i for i, r in enumerate(result.rows) if r.summary.policy in DEFAULTS),
    )
    ap = Image(
        pngs["ap"], "Bars of AP@0.5 for every policy and number of attackers, values as in the table.", wide=True
    )
    return ReportData(
        title="One of them lies",
        subtitle=f"{frames} frames of {scenes} held-out simulated scenes, detector {s.detector}, attack {s.attack}",
        summary=_summary(result.rows),
        table=table,
        charts=[ap],
        examples=_examples(result, pngs),
        budget=Image(
            pngs["budget"],
            "Probability that a subset without attackers was drawn, against the number of trials, under each law.",
            "Two of five attack, subsets of three: the formula claims the dashed line, its draws follow the full one; "
            "without repeats ten trials are certain. `robosac budget` has any other case.",
        ),
        command=result.command,
        config=json.dumps(result.to_dict()["config"], indent=2),
        versions=result.environment["versions"],
    )


def _summary(rows: list[Row]) -> list[str]:
    ap = {(r.attackers, r.summary.policy): e.value for r in rows if (e := r.summary.ap[0.5]) is not None}
    m = max(r.attackers for r in rows)

    def get(policy: str, attackers: int = m) -> str:
        value = ap.get((attackers, policy))
        return "undefined" if value is None else f"{value:.3f}"

    return [
        f"Alone, the ego reaches an AP@0.5 of {get('ego only')}; with all its teammates honest, {get('all honest')}.",
        f"When {m} of its teammates lie and nobody checks, that falls to {get('no defence')}.",
        f"With robosac it is {get(DEFAULTS[0])} if the number of attackers is known, {get(DEFAULTS[1])} if it is not; "
        f"the paper's own settings give {get('robosac, as in paper')}, and knowing the attackers {get('oracle')}.",
        "How to read it: “count known” is told how many attack at most, “oracle” who attacks; “gap” is the share of "
        "the way from ego only to the oracle; a “decode” is one pass of fusion and detection. The attack changes each "
        "feature a liar sends by at most its epsilon, along the detector's gradient (see the configuration below).",
    ]


def _examples(result: DemoResult, pngs: dict[str, bytes]) -> list[Example]:
    examples = []
    columns = [
        Column("policy", "policy", numeric=False),
        Column("used", "fused with", numeric=False),
        Column("accused", "accused", numeric=False),
        Column("trials", "trials", decimals=0),
        Column("reason", "why", numeric=False),
    ]
    for k, shot in enumerate(s for scene in result.scenes for s in scene.shots):
        images = [Image(pngs[f"frame-{k}"], f"{shot.title} from above under each policy. {shot.text}", wide=True)]
        images += [
            Image(png, f"Agreement with the ego for each trial of {policy}.", f"Trials of {policy}")
            for policy, png in shot.trials.items()
        ]
        examples.append(Example(shot.title, shot.text, images, Table(columns, shot.rows)))
    return examples


def _ap(rows: list[Row]) -> Figure:
    values: dict[str, dict[str, tuple[float, float, float] | None]] = {}
    for row in rows:
        e = row.summary.ap[0.5]
        group = f"{row.attackers} attack"
        values.setdefault(row.summary.policy, {})[group] = None if e is None else (e.value, e.low, e.high)
    return ap_figure(values, emphasise=DEFAULTS, reference="ego only")


def _budget() -> Figure:
    return plot_budget(5, 2, 3)
