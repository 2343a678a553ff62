"""Any frame with its truth as what `robosac.data.write_opv2v` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from robosac.boxes import upright_poses
from robosac.data.recording import Objects
from robosac.data.truth import select
from robosac.data.write_opv2v import Member
from robosac.types import Frame, Id, Truth


def members_of(frame: Frame, truth: Truth, names: Mapping[Id, str]) -> list[Member]:
    """The members of any frame, of another data set too, agents named by `names` and objects by their track ids.

    Boxes are upright in the ego's frame, as the truth is; each agent's list holds those with a point of its scan.
    """
    world_T_box = truth.world_T_sensor[frame.ego.id] @ upright_poses(truth.boxes.astype(np.float64))
    objects = Objects(tuple(str(i) for i in truth.track_ids.tolist()), world_T_box, truth.boxes[:, 3:6])
    views = {frame.ego.id: frame.ego, **frame.others}
    return [
        Member(names[a], replace(v, world_T_sensor=truth.world_T_sensor[a]), select(objects, truth.hits[a] > 0))
        for a, v in views.items()
    ]
