"""The demo's one table: policies by number of attackers, with intervals from the same resampled scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from robosac.evaluation.bootstrap import Estimate, recovered_share
from robosac.evaluation.metrics import FrameRecord, Summary, paired_ap, summarise
from robosac.types import keyed_rng

if TYPE_CHECKING:
    from rich.table import Table

IOU = 0.5


@dataclass(frozen=True)
class Row:
    """One policy against one number of attackers. `recovered` is its share of the gap from ego only to the oracle."""

    attackers: int
    summary: Summary
    recovered: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        recovered = None if self.recovered is None else asdict(self.recovered)
        return {"attackers": self.attackers, **self.summary.to_dict(), "recovered": recovered}

    def flat(self) -> dict[str, str | int | float | None]:
        """One plain value a column, for the report."""
        s = self.summary
        ap = {f"ap{round(100 * t)}": None if e is None else e.value for t, e in s.ap.items()}
        mid = s.ap[IOU]
        rates = {
            name: None if (e := getattr(s, name)) is None else 100 * e.value
            for name in ("tpr_excluded", "fpr_excluded", "tpr_accused", "fpr_accused", "fell_back")
        }
        return {
            "block": f"{self.attackers} of the ego's teammates attack",
            "policy": s.policy,
            **ap,
            "interval": None if mid is None else f"{mid.low:.2f}\u2060–\u2060{mid.high:.2f}",
            "recovered": None if self.recovered is None else 100 * self.recovered.value,
            **rates,
            "decodes": s.decodes.value,
            "ms": s.ms["total"].mean,
        }


def tabulate(records: Mapping[tuple[int, str], Sequence[FrameRecord]], *, seed: int) -> list[Row]:
    """Rows in the order of the records' keys: blocks of attackers, policies within."""
    rows: list[Row] = []
    for m in dict.fromkeys(m for m, _ in records):
        block = {policy: r for (k, policy), r in records.items() if k == m}
        paired = paired_ap(block, keyed_rng(seed, "bootstrap"))
        for policy, frames in block.items():
            recovered = None
            if {"ego only", "oracle"} <= set(block) and policy not in ("ego only", "oracle"):
                shares = [paired[p][IOU] for p in (policy, "ego only", "oracle")]
                recovered = replicated.estimate() if (replicated := recovered_share(*shares)) is not None else None
            rows.append(Row(m, summarise(policy, frames, keyed_rng(seed, "bootstrap")), recovered))
    return rows


COLUMNS = {
    "policy": ("policy", ""),
    "ap30": ("AP@0.3", ".3f"),
    "ap50": ("AP@0.5", ".3f"),
    "interval": ("95 %", ""),
    "ap70": ("AP@0.7", ".3f"),
    "recovered": ("gap %", ".0f"),
    "tpr_excluded": ("liars left out %", ".1f"),
    "fpr_excluded": ("honest left out %", ".1f"),
    "tpr_accused": ("liars accused %", ".1f"),
    "fpr_accused": ("honest accused %", ".1f"),
    "decodes": ("decodes", ".1f"),
    "ms": ("ms", ".0f"),
}
CAPTION = (
    "AP: rotated BEV boxes, scores sorted over all frames, frames without detections count; 95 %: interval of AP@0.5 "
    "by a bootstrap over scenes. Gap: share of the way from ego only to the oracle that is recovered, AP@0.5. Left out "
    "is not accused. Decodes and ms (milliseconds) are a frame's; decodes include the ego's own, ms its encoding and "
    "the warps, not the teammates' own encoding."
)


def rich_table(rows: Sequence[Row], title: str) -> Table:
    """For the terminal: fits 80 columns; intervals are in result.json and the report."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for label in (
        "AP@\n0.3",
        "AP@\n0.5",
        "AP@\n0.7",
        "gap\n%",
        "left out\n% a/h",
        "accused\n% a/h",
        "de-\ncodes",
        "ms",
    ):
        table.add_column(label, justify="right", no_wrap=True)
    for m in dict.fromkeys(row.attackers for row in rows):
        table.add_row(f"[italic]{f'{m} of the teammates attack' if m else 'nobody attacks'}[/italic]")
        for row in (r for r in rows if r.attackers == m):
            flat = row.flat()
            table.add_row(
                f" {flat['policy']}",
                *(_number(flat[key], ".3f") for key in ("ap30", "ap50", "ap70")),
                _number(flat["recovered"], ".0f"),
                *(
                    "/".join(_number(flat[f"{rate}_{what}"], ".0f") for rate in ("tpr", "fpr"))
                    for what in ("excluded", "accused")
                ),
                _number(flat["decodes"], ".1f"),
                _number(flat["ms"], ".0f"),
                style="bold" if row.summary.policy.startswith("robosac, count") else "",
            )
        table.add_row()
    return table


LEGEND = (
    "gap: share of the way from ego only to the oracle that is recovered, AP@0.5. a/h: attackers / honest teammates "
    "(left out is not accused). decodes: fuse + decode passes a frame, the ego's own included. ms: a frame, on "
    "this machine, without the teammates' own encoding. AP: rotated BEV boxes, scores sorted over all frames."
)


def _number(value: str | int | float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)
