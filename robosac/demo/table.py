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
            "interval": None if mid is None else f"{mid.low:.3f} to {mid.high:.3f}",
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
    "interval": ("95 % interval", ""),
    "ap70": ("AP@0.7", ".3f"),
    "recovered": ("gap recovered %", ".0f"),
    "tpr_excluded": ("attackers left out %", ".1f"),
    "fpr_excluded": ("honest left out %", ".1f"),
    "tpr_accused": ("attackers accused %", ".1f"),
    "fpr_accused": ("honest accused %", ".1f"),
    "decodes": ("decodes a frame", ".1f"),
    "ms": ("ms a frame", ".0f"),
}
CAPTION = (
    "AP: rotated BEV boxes, scores sorted over all frames, frames without detections count. Interval: bootstrap over "
    "scenes, AP@0.5. Gap recovered: share of the way from ego only to the oracle, AP@0.5. Left out is not accused. "
    "Decodes include the ego's own; ms include its encoding and the warps, not the teammates' encoding."
)


def rich_table(rows: Sequence[Row], title: str) -> Table:
    """For the terminal."""
    from rich.table import Table

    table = Table(title=title, caption=CAPTION, caption_justify="left", title_justify="left", pad_edge=False)
    for key, (label, _) in COLUMNS.items():
        left = key in ("policy",)
        table.add_column(label, justify="left" if left else "right", no_wrap=left, overflow="fold")
    last: int | None = None
    for row in rows:
        flat = row.flat()
        if row.attackers != last:
            table.add_section()
            table.add_row(f"[bold]{row.attackers} attack[/bold]")
            last = row.attackers
        cells = [
            "–" if flat[key] is None else (format(flat[key], spec) if spec else str(flat[key]))
            for key, (_, spec) in COLUMNS.items()
        ]
        table.add_row(*cells, style="bold" if row.summary.policy.startswith("robosac, count") else "")
    return table
