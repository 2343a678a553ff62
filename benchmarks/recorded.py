"""What do detectors and defences do on driving data that they never saw? Every agent of a recording in turn the ego.

    python -m benchmarks.recorded --detector road-mean                         # on every sample that is there
    python -m benchmarks.recorded --detector mean --data dair:PATH sim:mixed   # on data of one's own, or simulated
    python -m benchmarks.recorded --detector road-mean --calibration FILE      # thresholds of other frames

AP seen from above by `robosac.evaluation.ap`, in the detector's own map: objects with at least 5 points of the agents
taking part. Nothing is trained, tuned or calibrated on the data: thresholds are those beside the weights, from
simulated frames, unless a file is named. Frames without a teammate are left out. One of the teammates attacks. Where it
is the only one, as in DAIR and on the two cars, a defence that only leaves teammates out cannot do better than the ego
alone, and `oracle` is the ego alone.

Frames of a drive look alike, so there is no interval over frames: an interval over drives is given from five drives on,
by resampling whole drives; of fewer the AP of each is given, or nothing of a single one.

It is `robosac evaluate` with `--ego each`, one grid for each detector and data set, whose results are kept: stopped, it
goes on; with another attack or defence, only that is played.

What differs from the simulator and what is done about it:
- sensor heights (1.9 m on cars of OPV2V, a levelled "virtual" lidar at DAIR's crossing): nothing; the raster measures
  height above the ground, which it estimates from the points;
- range and beams (64 beams to 120 m, or a real 40-beam scan): nothing; points beyond the map are not looked at;
- world frames that are mirrored (OPV2V's are left-handed): nothing; only relative poses are used;
- the ego's own roof, which OPV2V's scans show: nothing; a box that is found there is a mistake a frame;
- clocks: DAIR's road-side scan is up to 50 ms later than the vehicle's, half a period, and the default gate lets a
  clock run 20 ms ahead. There it is let run 50 ms ahead.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import Option, describe, machine, options, refusing
from robosac.data.dataset import EACH
from robosac.evaluation.ap import average_precision
from robosac.evaluation.metrics import FrameRecord, by_scene, summarise
from robosac.executors import make_executor
from robosac.experiments.entries import Entry
from robosac.experiments.runner import Tell, open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.experiments.tables import shown, skipped_lines
from robosac.experiments.worst import draw
from robosac.files import write_whole
from robosac.fingerprint import fingerprint
from robosac.registry.data import is_simulated
from robosac.types import InputError, keyed_rng

SAMPLES: Final = ("opv2v/validate", "opv2v_two_cars", "dair_v2x_c")
ATTACKS: Final = ("pgd", "gps_offset", "pretend_benign")
DEFENSES: Final = (
    *("ego-only", "none", "oracle", "robosac", "robosac-strict", "robosac-agreement"),
    *("certified-1", "paper", "paper-probing"),
)
FEW_DRIVES, MOST_SIDES = 5, 3  # from so many an interval; of more than so many egos none is shown by itself


def samples() -> list[str]:
    """The samples that are there, beside the project or where ROBOSAC_SAMPLES says."""
    home = Path(os.environ.get("ROBOSAC_SAMPLES") or Path(__file__).parents[2] / "shared" / "data")
    return [f"data:{home / name}" for name in SAMPLES if (home / name).is_dir()]


@dataclass(frozen=True)
class Row:
    """A line of the table: what a defence did under an attack, in frames that have a teammate."""

    attack: str
    defense: str
    records: tuple[FrameRecord, ...]

    def ap(self, ego: str | None = None, drive: str | None = None, *, iou: float = 0.5) -> float | None:
        """Of all records, of those of one ego, or of one drive."""
        wanted = [r for r in self.records if ego in (None, ego_of(r)) and drive in (None, drive_of(r))]
        kept = [r.matches for r in wanted]
        return average_precision(kept)[iou] if kept else None

    @property
    def drives(self) -> list[str]:
        return list(by_scene(self.records, every_ego=True))

    def over_drives(self) -> str:
        """An interval from five drives on; the AP of each of fewer; nothing of one."""
        if len(self.drives) < 2:
            return "–"
        if len(self.drives) < FEW_DRIVES:
            return " / ".join(shown(self.ap(drive=d), ".3f") for d in self.drives)
        ap = summarise(self.defense, self.records, keyed_rng(0, "bootstrap"), every_ego=True).ap[0.5]
        return "–" if ap is None or ap.low is None else f"[{ap.low:.3f}, {ap.high:.3f}]"

    def taken(self) -> str:
        """Share of the frames under attack in which the attacker is used, and of the honest teammates that are not."""
        attacked = [r for r in self.records if r.attackers]
        used = shown(sum(bool(r.used & r.attackers) for r in attacked) / len(attacked), ".2f") if attacked else "–"
        honest = sum(len(r.honest) for r in self.records)
        lost = shown(sum(len(r.honest - r.used) for r in self.records) / honest, ".2f") if honest else "–"
        return f"{used} | {lost}"


def ego_of(record: FrameRecord) -> str:
    """The ego of a frame of a scenario that is named `SCENARIO/EGO`; none of a simulated one."""
    return record.scenario.rpartition("/")[2] if "/" in record.scenario else ""


def drive_of(record: FrameRecord) -> str:
    return record.scenario.rpartition("/")[0]


def rows_of(entries: Sequence[Entry]) -> Iterator[Row]:
    """A row for each attack and defence; the ego alone, which no attack changes, once."""
    for entry in entries:
        records = tuple(r for r in entry.records if r.teammates)
        if records and not (entry.cell.m and entry.cell.defense.name == "ego-only"):
            yield Row(entry.cell.attack_label if entry.cell.m else "nobody", entry.cell.defense.name, records)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of Markdown."""
    egos = sorted({ego_of(r) for row in rows for r in row.records} - {""})
    egos = egos if 1 < len(egos) <= MOST_SIDES else []
    headings = ["attack", "defence", "AP@0.5", "AP@0.7", *(f"{e} ego" for e in egos), "drives"]
    headings += ["attacker used", "honest lost"]
    yield f"| {' | '.join(headings)} |"
    yield f"|---|---|{'--:|' * (len(headings) - 2)}"
    for row in rows:
        aps = [row.ap(), row.ap(iou=0.7), *(row.ap(ego=e) for e in egos)]
        cells = [row.attack, row.defense, *(shown(ap, ".3f") for ap in aps), row.over_drives(), row.taken()]
        yield f"| {' | '.join(cells)} |"


def title_of(data: str, rows: Sequence[Row]) -> str:
    first = rows[0].records
    mates = sum(len(r.teammates) for r in first) / len(first)
    drives = len(rows[0].drives)
    what = f"{drives} {'scene' if is_simulated(data) else 'drive'}{'s' * (drives != 1)}"
    objects = sum(r.matches.n_gt for r in first)
    return f"{Path(data).name}: {len(first)} frames of {what}, {mates:.1f} teammates, {objects} objects"


def grid_of(data: str, detector: str, attacks: Mapping[str, None], defenses: Mapping[str, None]) -> Grid:
    """One detector on one data set, nobody and one of the teammates attacking."""
    return Grid(
        dataset=(data,),
        ego=EACH,
        detector=(detector,),
        attack=tuple(attacks),
        attackers=(0, 1),
        defense=tuple(defenses),
    )


def main(args: Sequence[str] | None = None) -> None:
    asked = options(
        __doc__,
        args,
        detector=Option(("road-mean",), "names as anywhere"),
        data=Option((), "names as in robosac evaluate; default: the samples"),
        attack=Option(ATTACKS, "presets"),
        defense=Option(DEFENSES, "presets"),
        calibration=Option(None, "thresholds of the one detector, in place of those beside its weights", kind=Path),
        pictures=Option(False, "one frame of each data set, under the last attack"),
        out=Path("runs/recorded"),
        jobs=1,
    )
    print(describe(machine(1)))
    with refusing():
        if asked.calibration is not None and len(asked.detector) > 1:
            raise InputError(f"expected one --detector beside --calibration, got {', '.join(asked.detector)}")
        executor = make_executor(asked.jobs)
        for detector in asked.detector:
            for data in asked.data or samples():
                grid = grid_of(data, detector, dict.fromkeys(asked.attack), dict.fromkeys(asked.defense))
                name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{Path(detector).stem}-{Path(data).name}")
                out = asked.out / f"{name}-{fingerprint(detector, data)[:6]}"
                plan = open_experiment(grid, out, calibration=asked.calibration)
                entries = run_experiment(plan, executor, tell=_told(detector, data))
                rows = list(rows_of(entries))
                if not rows:
                    why = "; ".join(skipped_lines(entries)) or "look at it with robosac data inspect"
                    raise InputError(f"expected frames with teammates in {data}, got none: {why}")
                print(f"\n{detector}, {title_of(data, rows)}\n", *table(rows), *skipped_lines(entries), sep="\n")
                for shot in draw(plan, executor, 1) if asked.pictures else ():
                    write_whole(out / "frame.png", shot.panels)
                    print(f"\n{out / 'frame.png'}")


def _told(detector: str, data: str) -> Tell:
    """Says how far it is on standard error."""

    def tell(done: int, total: int) -> None:
        print(f"{detector} on {Path(data).name}: {done} of {total}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    main()
