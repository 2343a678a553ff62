"""Configurations of the OpenCOOD models that the adapter wraps, over a range of any size, and seeded random weights.

The arguments are those of the models' published configurations, less what only training reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.folder import build_model
from robosac.types import Array

SMALL: Final = (25.6, 12.8)  # half extents in metres along x and y: 128 x 64 pillars
# PIXOR's coarsest map must be larger: torch takes another kernel, with other roundings, for a batch of one whose
# convolution reads at most 20,480 numbers
SMALL_PIXOR: Final = (25.6, 25.6)
FULL: Final = (140.8, 40.0)  # 704 x 200 pillars, the published range
PILLAR: Final = [0.4, 0.4, 4]
Half = tuple[float, float]


def _backbone(**more: Any) -> dict[str, Any]:
    return {
        "layer_nums": [3, 5, 8], "layer_strides": [2, 2, 2], "num_filters": [64, 128, 256],
        "upsample_strides": [1, 2, 4], "num_upsample_filter": [128, 128, 128], **more,
    }  # fmt: skip


def _shrink(stride: int) -> dict[str, Any]:
    kernel = 1 if stride == 1 else 3
    return {"kernal_size": [kernel], "stride": [stride], "padding": [kernel // 2], "dim": [256], "input_dim": 384}


def _pillars(half: Half, compression: int = 0, *, max_cav: int, **more: Any) -> dict[str, Any]:
    return {
        "voxel_size": PILLAR, "lidar_range": _range(half), "anchor_number": 2, "anchor_num": 2, "max_cav": max_cav,
        "compression": compression, "backbone_fix": False,
        "pillar_vfe": {"use_norm": True, "with_distance": False, "use_absolute_xyz": True, "num_filters": [64]},
        "point_pillar_scatter": {"num_features": 64}, "base_bev_backbone": _backbone(), **more,
    }  # fmt: skip


def _range(half: Half) -> list[float]:
    return [-half[0], -half[1], -3, half[0], half[1], 1]


def _fine(half: Half) -> tuple[int, int]:
    """Rows and columns of the map at a stride of 4 pillars."""
    return round(half[1] / 0.8), round(half[0] / 0.8)


def _attfuse(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    return _pillars(half, max_cav=max_cav, base_bev_backbone=_backbone(compression=compression))


def _fcooper(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    return _pillars(half, compression, max_cav=max_cav, shrink_header=_shrink(1))


def _v2vnet(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    rows, cols = _fine(half)
    fusion = {
        "voxel_size": PILLAR, "downsample_rate": 4, "num_iteration": 2, "in_channels": 256, "gru_flag": True,
        "agg_operator": "avg", "conv_gru": {"H": rows, "W": cols, "num_layers": 1, "kernel_size": [[3, 3]]},
    }  # fmt: skip
    return _pillars(half, compression, max_cav=max_cav, shrink_header=_shrink(2), v2vfusion=fusion)


def _v2xvit(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    cav = {
        "dim": 256, "use_hetero": True, "use_RTE": True, "RTE_ratio": 2, "heads": 8, "dim_head": 32, "dropout": 0.3,
    }  # fmt: skip
    windows = {
        "dim": 256, "heads": [16, 8, 4], "dim_head": [16, 32, 64], "dropout": 0.3, "window_size": [4, 8, 16],
        "relative_pos_embedding": True, "fusion_method": "split_attn",
    }  # fmt: skip
    encoder = {
        "num_blocks": 1, "depth": 3, "use_roi_mask": True, "cav_att_config": cav, "pwindow_att_config": windows,
        "feed_forward": {"mlp_dim": 256, "dropout": 0.3}, "sttf": {"voxel_size": PILLAR, "downsample_rate": 4},
    }  # fmt: skip
    return _pillars(half, compression, max_cav=max_cav, shrink_header=_shrink(2), transformer={"encoder": encoder})


def _where2comm(half: Half, compression: int, max_cav: int, *, multi_scale: bool = True) -> dict[str, Any]:
    fusion = {
        "fully": False, "voxel_size": PILLAR, "downsample_rate": 4, "in_channels": 256, "multi_scale": multi_scale,
        "layer_nums": [3, 5, 8], "num_filters": [64, 128, 256],
        "communication": {"round": 1, "threshold": 0.01, "gaussian_smooth": {"k_size": 5, "c_sigma": 1.0}},
    }  # fmt: skip
    return _pillars(
        half, compression, max_cav=max_cav, shrink_header=_shrink(2), head_dim=256, where2comm_fusion=fusion
    )


def _cobevt(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    fusion = {
        "input_dim": 256, "mlp_dim": 256, "agent_size": max_cav, "window_size": 4, "dim_head": 32, "drop_out": 0.1,
        "depth": 3, "mask": True,
    }  # fmt: skip
    return _pillars(half, compression, max_cav=max_cav, shrink_header=_shrink(2), fax_fusion=fusion)


def _coalign(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    return _pillars(half, compression, max_cav=max_cav, res_bev_backbone=_backbone())


def _second(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    backbone = {
        "layer_nums": [5, 5], "layer_strides": [1, 2], "num_filters": [128, 256], "upsample_strides": [1, 2],
        "num_upsample_filter": [256, 256], "compression": compression,
    }  # fmt: skip
    return {
        "batch_size": 1, "anchor_number": 2, "anchor_num": 2, "mean_vfe": {"feature_points": 4}, "backbone_3d": {},
        "height_compression": {"feature_num": 256}, "base_bev_backbone": backbone,
    }  # fmt: skip


def _pixor(half: Half, compression: int, max_cav: int) -> dict[str, Any]:
    return {"use_bn": True, "decode": False}


MODELS: Final[Mapping[str, tuple[str, int, Callable[[Half, int, int], dict[str, Any]]]]] = {
    # name -> OpenCOOD's core_method, stride of the outputs in input cells, model arguments
    "AttFuse": ("point_pillar_intermediate", 2, _attfuse),
    "F-Cooper": ("point_pillar_fcooper", 2, _fcooper),
    "V2VNet": ("point_pillar_v2vnet", 4, _v2vnet),
    "V2X-ViT": ("point_pillar_transformer", 4, _v2xvit),
    "Where2comm": ("point_pillar_where2comm", 4, _where2comm),
    "Where2comm, one scale": ("point_pillar_where2comm", 4, partial(_where2comm, multi_scale=False)),
    "CoBEVT": ("point_pillar_cobevt", 4, _cobevt),
    "CoAlign": ("point_pillar_coalign", 2, _coalign),
    "PIXOR": ("pixor_intermediate", 4, _pixor),
    "SECOND": ("second_intermediate", 8, _second),
}
COMPRESSES: Final = tuple(name for name in MODELS if name != "PIXOR")
LEGACY: Final = ("AttFuse", "F-Cooper", "V2VNet", "PIXOR", "SECOND")  # those that opencoodx 0.1.19 has
WARPS: Final = ("V2VNet", "CoAlign")  # those that bring unprojected features to the ego's frame themselves


def config(
    name: str, half: Half | None = None, *, compression: int = 0, proj_first: bool = True, max_cav: int = 5
) -> dict[str, Any]:
    """A configuration as its YAML file would hold it, nothing derived yet; `half` is a small range by default."""
    half = half or (SMALL_PIXOR if name == "PIXOR" else SMALL)
    method, stride, arguments = MODELS[name]
    limits = _range(half)
    dense, sparse = name == "PIXOR", name == "SECOND"
    voxel = [0.1, 0.1, 0.1] if sparse else PILLAR
    voxels = {
        "voxel_size": voxel, "max_points_per_voxel": 5 if sparse else 32, "max_voxel_train": 32000,
        "max_voxel_test": 70000,
    }  # fmt: skip
    preprocess: dict[str, Any] = {"core_method": "SpVoxelPreprocessor", "args": voxels, "cav_lidar_range": limits}
    anchors = {
        "cav_lidar_range": limits, "l": 3.9, "w": 1.6, "h": 1.56, "r": [0, 90], "feature_stride": stride, "num": 2,
    }  # fmt: skip
    post: dict[str, Any] = {
        "core_method": "VoxelPostprocessor", "anchor_args": anchors, "order": "hwl", "max_num": 100, "nms_thresh": 0.15,
        "target_args": {"pos_threshold": 0.6, "neg_threshold": 0.45, "score_threshold": 0.2},
    }  # fmt: skip
    if dense:
        resolution = {"res": 0.2, "downsample_rate": 4}
        preprocess.update(core_method="BevPreprocessor", args=resolution)
        post.update(
            core_method="BevPostprocessor",
            order="lwh",
            anchor_args={"cav_lidar_range": limits, **resolution},
            target_args={"score_threshold": 0.7},
        )
    parser = "load_bev_params" if dense else "load_second_params" if sparse else "load_point_pillar_params"
    return {
        "name": method,
        "yaml_parser": parser,
        "root_dir": "",
        "validate_dir": "",
        "train_params": {"batch_size": 1, "epoches": 1, "eval_freq": 1, "save_freq": 1, "max_cav": max_cav},
        "fusion": {"core_method": "IntermediateFusionDataset", "args": {"proj_first": proj_first}},
        "preprocess": preprocess,
        "data_augment": [],
        "postprocess": post,
        "model": {"core_method": method, "args": arguments(half, compression, max_cav)},
    }


def derived(plain: dict[str, Any], root: Path | str | None = None) -> dict[str, Any]:
    """The configuration with what OpenCOOD's own parser of it adds."""
    parsers = bridges.import_module("opencood.hypes_yaml.yaml_utils", root)
    result: dict[str, Any] = getattr(parsers, plain["yaml_parser"])(plain)
    return result


def random_model(hypes: Mapping[str, Any], root: Path | str | None = None, *, seed: int = 0) -> nn.Module:
    """OpenCOOD's model with seeded weights, in evaluation mode. Convolutions keep the scale of what they read."""
    torch.manual_seed(seed)
    model = build_model(hypes, root=root).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0.0, 0.2)
    return model


def settle(model: nn.Module, forward: Callable[[], object]) -> None:
    """Take the statistics of the normalisations from one forward, as training would.

    Without, what goes through a deep random model dies out or explodes, and its outputs depend on the input no longer.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all calls
        norm.train()
    with torch.no_grad():
        forward()
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()
        if norm.running_var is not None:  # a channel that hardly ever fires must not be blown up
            norm.running_var.clamp_(min=0.1 * float(norm.running_var.mean()))


def _heads(model: nn.Module) -> list[nn.Conv2d]:
    names = ("cls_head", "reg_head", "header.clshead", "header.reghead")
    return [m for name, m in model.named_modules() if name in names and isinstance(m, nn.Conv2d)]


def tame(model: nn.Module, classes: Array, boxes: Array, threshold: float, *, share: float = 0.01) -> None:
    """Scale the heads by their outputs of one frame: about `share` of the scores pass the threshold, and boxes are of
    ordinary size. Random weights alone let every anchor fire, or none."""
    class_head, box_head = _heads(model)
    wanted = np.log(threshold / (1 - threshold))
    with torch.no_grad():
        for head, output, spread in ((class_head, classes, 1.0), (box_head, boxes, 0.2)):
            scale = float(spread / output.std())
            head.weight *= scale
            if head.bias is not None:
                head.bias *= scale
                if head is class_head:
                    head.bias += float(wanted - np.quantile(output * scale, 1 - share))
