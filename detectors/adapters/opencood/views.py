"""A user's own collated batch as a `Frame`: every agent's slice of the batch travels inside its view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robosac.detectors.adapters.opencood.batch import Cells, Geometry, Hypes, Voxels
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.adapters.opencood.split import raster_points, split
from robosac.types import Float32, Float64, Frame, Id, InputError, Request, View


@dataclass(frozen=True, eq=False)
class Source:
    """What all views of one batch share.

    Attributes:
        ids: the agents' names in the order of the batch, the ego's first.
        cells: an agent's slice of `processed_lidar` each.
        geometry: the batch's matrices.
        points: an agent's points `(N, 4)` each, as far as the slice still holds them.
        poses: `(N, 4, 4)`, in the frame of the ego's sensor.
    """

    ids: tuple[Id, ...]
    cells: tuple[Cells, ...]
    geometry: Geometry
    points: tuple[Float32, ...]
    poses: Float64


@dataclass(frozen=True, eq=False)
class BatchView(View):
    """A view cut from a batch. The batch's "world" is the ego's sensor frame.

    `points` are those that the batch's voxels kept; in a batch whose points were projected to the ego first they are
    in the ego's frame, and every pose is the identity. A copy with other points or another pose is encoded from them.
    """

    source: Source
    row: int

    def slice_for(self, to: Request) -> Cells | None:
        """The slice of the batch, if it is still what this view says and the request is for this batch's ego."""
        source = self.source
        same = self.points is source.points[self.row] and np.array_equal(self.world_T_sensor, source.poses[self.row])
        return source.cells[self.row] if same and np.array_equal(to.world_T_ego, source.poses[0]) else None


def frame_of(batch: Mapping[str, Any], hypes: Hypes, spec: Spec, scenario: str, index: int, *, moved: bool) -> Frame:
    """The frame of a batch; `moved`: its points were projected to the ego's frame before they became voxels.

    Raises:
        InputError: if it is not a collated batch of one frame.
    """
    cut = split(batch, spec.cells, spec.modalities)
    count = len(cut.cells)
    if not count:
        raise InputError("expected a batch with at least the ego, got record_len 0")
    ids = ("ego", *(f"agent{i:02d}" for i in range(1, count)))  # sorted by name they keep the order of the batch
    poses = np.tile(np.eye(4), (count, 1, 1)) if moved else cut.geometry.pairwise[:, 0].copy()
    points = tuple(
        c.points() if isinstance(c, Voxels) else raster_points(c.image, hypes["preprocess"]["geometry_param"])
        for c in cut.cells
    )
    source = Source(ids, cut.cells, cut.geometry, points, poses)
    views = [
        BatchView(
            id=name,
            kind="roadside" if cut.geometry.prior[i, 2] > 0 else "vehicle",
            t_ns=0,
            points=points[i],
            world_T_sensor=poses[i],
            source=source,
            row=i,
        )
        for i, name in enumerate(ids)
    ]
    return Frame(scenario, index, views[0], {view.id: view for view in views[1:]})
