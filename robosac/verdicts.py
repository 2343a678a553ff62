"""A verdict to look at: printed, drawn, in a notebook; and whether the poses of a frame fit its scans."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.boxes import invert_pose, transform_points
from robosac.certificates import withstands
from robosac.types import Array, BevGrid, Frame, Id, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN: Final = 10  # boxes in a summary
_NEAR_M: Final = 0.4
_FEW: Final = 50  # points in common, below which nothing is said
_FITS: Final = 0.3  # share of points in common, below which an explanation is none
AS_GIVEN: Final = "as given"


@dataclass(frozen=True, eq=False, repr=False)
class ShownVerdict(Verdict):
    """A verdict that knows its frame, so that it can be printed and drawn."""

    frame: Frame | None = None
    grid: BevGrid | None = None

    @staticmethod
    def of(verdict: Verdict, frame: Frame, grid: BevGrid | None) -> ShownVerdict:
        """The same verdict, with what a picture needs."""
        held = {f.name: getattr(verdict, f.name) for f in fields(Verdict)}
        return ShownVerdict(**held, frame=frame, grid=grid)

    def __repr__(self) -> str:
        used, accused = _names(self.used), _names(self.accused)
        return f"<Verdict: {len(self.result)} boxes, used {used}, accused {accused}: {self.reason}>"

    def __str__(self) -> str:
        ms = sum(self.ms.values()) if "total" not in self.ms else self.ms["total"]
        lines = [
            f"{len(self.result)} boxes in the ego's frame, {int(self.corroborated.sum())} corroborated",
            f"used     {_names(self.used)}",
            f"accused  {_names(self.accused)}",
            *(f"rejected {link}: {why}" for link, why in sorted(self.rejected.items())),
            f"because  {self.reason}",
            f"cost     {len(self.trials)} trials, {self.decodes} decodes, {ms:.0f} ms",
            "",
            "  #  score    x m    y m  length  width   yaw  rests on",
        ]
        for k, box in enumerate(self.result.boxes[:_SHOWN]):
            x, y, _, length, width, _, yaw = map(float, box)
            lines.append(
                f"{k:3d}  {float(self.result.scores[k]):.3f} {x:6.1f} {y:6.1f}  {length:6.1f} {width:6.1f} "
                f"{np.degrees(yaw):5.0f}  {_names(self.sources[k]) if self.sources[k] else 'the ego alone'}"
            )
        if len(self.result) > _SHOWN:
            lines.append(f"     ... and {len(self.result) - _SHOWN} more, in verdict.result")
        return "\n".join(lines)

    def plot(self, *, title: str = "") -> Figure:
        """The frame from above: points, boxes, who was used and accused. A figure that a notebook shows."""
        from robosac.viz.bev import Picture, panel_figure

        assert self.frame is not None
        note = f"{len(self.result)} boxes, {self.decodes} decodes"
        told = self.certificates
        picture = Picture(
            title or self.frame.scenario, self.result, self.used, self.accused, note=note,
            filled=self.corroborated if self.support else None,
            thick=None if told is None else withstands(told, 1),
        )  # fmt: skip
        return panel_figure(self.frame, [picture], region=self.grid or 40.0, columns=1)

    def _repr_html_(self) -> str:
        from robosac.viz.canvas import png_bytes

        png = base64.b64encode(png_bytes(self.plot())).decode("ascii")
        text = html.escape(str(self))
        source = f"data:image/png;base64,{png}"
        picture = f'<img alt="the frame from above" style="width:40rem;max-width:100%" src="{source}">'
        return f'{picture}<pre style="overflow-x:auto">{text}</pre>'


def _names(ids: frozenset[Id]) -> str:
    return ", ".join(sorted(ids)) or "nobody"


# ------------------------------------------------------------------------------------------------- do the poses fit
def check_frame(frame: Frame) -> str | None:
    """What does not fit between the scans and the poses of a frame, in words; None where all fits.

    Teammates' points above the ground must fall on the ego's where both see. Where more of them do so with the poses
    inverted, y mirrored, or lengths in other units, that is said. Nothing is said of scans with little in common.
    """
    ego = frame.ego.world_T_sensor
    mirror = np.diag([1.0, -1.0, 1.0, 1.0])
    hits: dict[str, int] = {}
    points: dict[str, int] = {}
    mine = _standing(frame.ego.points)
    for view in frame.others.values():
        theirs, given = _standing(view.points), invert_pose(ego) @ view.world_T_sensor
        poses = {
            AS_GIVEN: given,
            "with the poses inverted: they look like sensor_T_world": ego @ invert_pose(view.world_T_sensor),
            "with y mirrored in the points, or in the poses: one of them is left-handed": mirror @ given @ mirror,
            "with positions divided by 100: they look like centimetres": _scaled(given, 100),
            "with positions divided by 1000: they look like millimetres": _scaled(given, 1000),
        }
        for how, pose in poses.items():
            found = _fallen(mine, theirs, pose)
            hits[how], points[how] = hits.get(how, 0) + found[0], points.get(how, 0) + found[1]
    shares = {how: hits[how] / points[how] if points[how] else 0.0 for how in hits}
    best = max(shares, key=lambda how: shares[how], default=AS_GIVEN)
    if not shares or shares[best] < max(_FITS, 1.5 * shares[AS_GIVEN]):
        return None
    return (
        f"{shares[AS_GIVEN]:.0%} of the teammates' points fall on the ego's {AS_GIVEN}, but {shares[best]:.0%} {best}"
    )


def _standing(points: Array) -> Array:
    """Points above the ground, a few thousand of them."""
    ground = np.percentile(points[:, 2], 10) if len(points) else 0.0
    above = points[points[:, 2] > ground + 0.5]
    return above[:: max(1, len(above) // 4000)]


def _scaled(pose: Array, by: float) -> Array:
    made: Array = pose.copy()
    made[:3, 3] /= by
    return made


def _fallen(mine: Array, theirs: Array, ego_T_other: Array) -> tuple[int, int]:
    """How many of a teammate's points near the ego have one of the ego's beside them, and how many there are."""
    from scipy.spatial import cKDTree

    if len(mine) < _FEW or len(theirs) < _FEW:
        return 0, 0
    moved: Any = transform_points(ego_T_other, theirs)[:, :2]
    low, high = np.percentile(mine[:, :2], [5, 95], axis=0)
    inside = moved[((moved > low) & (moved < high)).all(axis=1)]
    if len(inside) < _FEW:
        return 0, 0
    distance, _ = cKDTree(mine[:, :2]).query(inside, distance_upper_bound=_NEAR_M)
    return int(np.isfinite(distance).sum()), len(inside)
