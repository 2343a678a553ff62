"""Runs the reference implementation's own ROBOSAC inference step in a process of its own.

    python -m tests.adapters.coperception_reference CHECKOUT CHECKPOINT BATCH OUT

For each row of BATCH's `collaborators` (-1 where nobody else) its model fuses the ego, slot 1, with these agents, and
its own code decodes the ego's boxes. `no_fuse` is its ego-only pass. Of ours only the bridges to import it take part.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robosac.detectors.adapters.coperception import bridges

EGO = 1


def main(checkout: str, checkpoint: str, batch: str, out: str) -> None:
    root = next(p for p in (Path(checkout) / "coperception", Path(checkout)) if (p / "coperception").is_dir())
    names = ["models.det", "configs", "utils.obj_util", "utils.detection_util"]
    det, configs, obj_util, detection_util = bridges.load(root, names)
    torch.set_num_threads(1)
    config = configs.Config("train", binary=True, only_det=True)
    with np.load(batch, allow_pickle=False) as held:
        bev, trans, count = (torch.from_numpy(held[k]) for k in ("bev", "trans_matrices", "num_agent"))
        rows = held["collaborators"]
    model = torch.nn.DataParallel(det.MeanFusion(config, layer=3, kd_flag=0, num_agent=len(bev)))
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["model_state_dict"])
    model.eval()
    anchors = obj_util.init_anchors_no_check(
        config.area_extents, config.voxel_size, config.box_code_size, config.anchor_size
    )
    results: dict[str, Any] = {}
    with torch.no_grad():
        for i, row in enumerate(rows):
            others = [int(j) for j in row if j >= 0]
            how: dict[str, Any] = {"collab_agent_list": others, "ego_agent": EGO} if others else {"no_fuse": True}
            result = model.module(bev, trans, count, batch_size=1, **how)
            loc, cls = (result[k][EGO : EGO + 1] for k in ("loc", "cls"))
            at = torch.from_numpy(anchors).float()[None]
            (found,), _ = detection_util.apply_nms_det(loc, cls, at, config.code_type, config)
            results |= {f"pred{i}": found[0]["pred"], f"score{i}": found[0]["score"]}
    np.savez(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
