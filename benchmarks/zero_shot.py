"""How well does a shipped detector, trained on the simulator alone, do on driving data it never saw?

    python -m benchmarks.zero_shot                          # every sample that is there
    python -m benchmarks.zero_shot FOLDER --ego first       # a data set of one's own
    python -m benchmarks.zero_shot --out runs/zero_shot     # and one attacked, defended frame of each drawn

AP seen from above by `robosac.evaluation.ap`: objects with at least 5 points of the agents taking part, centred in the
detector's map (+-38.4 m about the ego; published figures of these data sets are for a larger region and are another
thing). Rows: the ego alone; everybody fused; with one teammate attacking, everybody fused and the default defence;
and that where nobody attacks. Its thresholds are the shipped ones, from simulated frames. Nothing is trained, tuned or
calibrated on the data. Where the only teammate lies, the best a defence can do is the ego alone.

What differs from the simulator and what is done about it:
- sensor heights (1.9 m on cars of OPV2V, a levelled "virtual" lidar at DAIR's crossing): nothing; the raster measures
  height above the ground, which it estimates from the points;
- range and beams (64 beams to 120 m, or a real 40-beam scan): nothing; points beyond the map are not looked at;
- world frames that are mirrored (OPV2V's are left-handed): nothing; only relative poses are used;
- the ego's own roof, which OPV2V's scans show: nothing; a box that is found there is a mistake a frame;
- clocks: DAIR's road-side scan is up to 50 ms later than the vehicle's, half a period, and the default gate lets a
  clock run 20 ms ahead. For all rows and data sets it is let run 50 ms ahead.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from robosac import attacks
from robosac.data.dataset import EACH, DataSet
from robosac.data.layout import recognise
from robosac.defenses import NoDefense, Robosac
from robosac.defenses.baselines import EgoOnly
from robosac.demo.pictures import shoot
from robosac.evaluation.ap import average_precision, recall
from robosac.evaluation.play import Played, Policy, play
from robosac.files import check_writable, write_whole
from robosac.gate import Gate
from robosac.registry.detectors import open_detector, saved_calibration
from robosac.simulation import scenario
from robosac.types import Frame, InputError, Truth

SAMPLES: Final = ("opv2v/validate", "opv2v_two_cars", "dair_v2x_c")
SIMULATED: Final = "simulated"
SIMULATED_FRAMES: Final = 20
GATE: Final = Gate(max_ahead_ms=50.0)
POLICIES: Final = (
    Policy("ego only", lambda m: EgoOnly(), honest_air=True),
    Policy("all honest", lambda m: NoDefense(gate=GATE), honest_air=True),
    Policy("no defence", lambda m: NoDefense(gate=GATE)),
    Policy("robosac", lambda m: Robosac(gate=GATE)),
    Policy("robosac, no liar", lambda m: Robosac(gate=GATE), honest_air=True),
)


def samples() -> list[Path]:
    """The samples that are there, beside the project or where ROBOSAC_SAMPLES says."""
    home = Path(os.environ.get("ROBOSAC_SAMPLES") or Path(__file__).parents[2] / "shared" / "data")
    return [home / name for name in SAMPLES if (home / name).is_dir()]


def frames_of(name: str, ego: str) -> Iterator[tuple[Frame, Truth]]:
    """Frames and truth of a folder, or the first frames of held-out simulated scenes."""
    if name == SIMULATED:
        yield from (scenario("test", k).snapshot(0).frame() for k in range(SIMULATED_FRAMES))
    else:
        yield from DataSet(recognise(Path(name)), ego=ego)


def measure(name: str, ego: str, detector_name: str, attack_name: str) -> list[Played]:
    """Every policy on every frame that has a teammate, one of them attacking."""
    detector = open_detector(detector_name)
    attack, calibration = attacks.load(attack_name), saved_calibration(detector)
    found: list[Played] = []
    for _, group in groupby(frames_of(name, ego), key=lambda pair: pair[0].scenario):
        shared = [(frame, truth) for frame, truth in group if frame.others]
        if shared:
            found += play(shared, detector, attack, (1,), POLICIES, seed=0, calibration=calibration)
    if not found:
        raise InputError(f"expected frames with teammates in {name}, got none; look at it with robosac data inspect")
    return found


def show(title: str, played: Sequence[Played]) -> None:
    """One table."""
    first = [p for p in played if p.policy == POLICIES[0].name]
    objects = sum(p.record.matches.n_gt for p in first)
    mean = sum(len(p.frame.others) for p in first) / len(first)
    print(f"\n{title}: {len(first)} frames, {mean:.1f} teammates, {objects} objects")
    print(f"  {'':18}{'AP@0.3':>8}{'AP@0.5':>8}{'AP@0.7':>8}{'recall@0.5':>12}{'used':>6}{'liar used':>11}")
    for policy in POLICIES:
        rows = [p for p in played if p.policy == policy.name]
        matches = [p.record.matches for p in rows]
        ap, found = average_precision(matches), recall(matches)
        used = sum(len(p.verdict.used) for p in rows) / len(rows)
        lied = sum(bool(p.verdict.used & p.truth.attackers) for p in rows) / len(rows)
        print(
            f"  {policy.name:18}" + "".join(f"{_said(ap[t]):>8}" for t in (0.3, 0.5, 0.7)) + f"{_said(found[0.5]):>12}"
            f"{used:6.2f}" + ("" if policy.honest_air else f"{lied:11.2f}")
        )  # fmt: skip


def _said(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def draw(name: str, played: Sequence[Played], detector_name: str, out: Path) -> Path:
    """The first frame under every policy, one teammate attacking."""
    first = [p for p in played if p.frame is played[0].frame]
    path = out / f"{Path(name).name}.png"
    write_whole(path, shoot(first, open_detector(detector_name).grid, Path(name).name).panels)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", help="data sets; default: the simulator's test split and the samples")
    parser.add_argument("--detector", default="mean", help="a shipped detector")
    parser.add_argument("--attack", default="pgd", help="an attack preset")
    parser.add_argument("--ego", default=EACH, help="first, each, or an agent's name")
    parser.add_argument("--out", type=Path, help="folder for a picture of each data set")
    args = parser.parse_args()
    if args.out is not None:
        check_writable(args.out)
    for name in args.folders or [SIMULATED, *map(str, samples())]:
        played = measure(name, args.ego, args.detector, args.attack)
        show(Path(name).name, played)
        if args.out is not None:
            print(f"  {draw(name, played, args.detector, args.out)}")


if __name__ == "__main__":
    main()
