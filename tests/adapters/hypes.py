"""Small OpenCOOD configurations, written for the tests."""

from __future__ import annotations

from typing import Any

RANGE = [-51.2, -38.4, -3.0, 51.2, 38.4, 1.0]


def point_pillar(core_method: str, *, lidar_range: list[float] = RANGE, **model_args: Any) -> dict[str, Any]:
    """A PointPillars model of OpenCOOD over a small range, one layer a block so that it builds fast."""
    size = [0.4, 0.4, 4.0]
    return {
        "name": core_method,
        "yaml_parser": "load_point_pillar_params",
        "root_dir": "",
        "validate_dir": "",
        "train_params": {"batch_size": 1, "epoches": 1, "eval_freq": 1, "save_freq": 1, "max_cav": 5},
        "fusion": {"core_method": "IntermediateFusionDataset", "args": []},
        "preprocess": {
            "core_method": "SpVoxelPreprocessor",
            "args": {"voxel_size": size, "max_points_per_voxel": 32, "max_voxel_train": 9000, "max_voxel_test": 20000},
            "cav_lidar_range": lidar_range,
        },
        "data_augment": [],
        "postprocess": {
            "core_method": "VoxelPostprocessor",
            "anchor_args": {
                "cav_lidar_range": lidar_range,
                "l": 3.9,
                "w": 1.6,
                "h": 1.56,
                "r": [0, 90],
                "feature_stride": 2,
                "num": 2,
            },
            "target_args": {"pos_threshold": 0.6, "neg_threshold": 0.45, "score_threshold": 0.2},
            "order": "hwl",
            "max_num": 100,
            "nms_thresh": 0.15,
        },
        "model": {
            "core_method": core_method,
            "args": {
                "voxel_size": size,
                "lidar_range": lidar_range,
                "anchor_number": 2,
                "anchor_num": 2,
                "max_cav": 5,
                "compression": 0,
                "backbone_fix": False,
                "pillar_vfe": {
                    "use_norm": True,
                    "with_distance": False,
                    "use_absolute_xyz": True,
                    "num_filters": [64],
                },
                "point_pillar_scatter": {"num_features": 64},
                "base_bev_backbone": _backbone(),
                "shrink_header": {
                    "kernal_size": [1],
                    "stride": [1],
                    "padding": [0],
                    "dim": [256],
                    "input_dim": 384,
                },
                **model_args,
            },
        },
    }


def _backbone() -> dict[str, Any]:
    return {
        "layer_nums": [1, 1, 1],
        "layer_strides": [2, 2, 2],
        "num_filters": [64, 128, 256],
        "upsample_strides": [1, 2, 4],
        "num_upsample_filter": [128, 128, 128],
        "compression": 0,
    }


def coalign() -> dict[str, Any]:
    return point_pillar("point_pillar_coalign", res_bev_backbone=_backbone())


def pixor() -> dict[str, Any]:
    """PIXOR, whose loader makes a BEV grid with `np.int`."""
    bounds = [-51.2, -38.4, -3.0, 51.2, 38.4, 1.0]
    hypes = point_pillar("pixor_intermediate", lidar_range=bounds)
    hypes["yaml_parser"] = "load_bev_params"
    hypes["preprocess"].update(core_method="BevPreprocessor", args={"res": 0.2, "downsample_rate": 4})
    hypes["postprocess"].update(
        core_method="BevPostprocessor",
        order="lwh",
        anchor_args={"cav_lidar_range": bounds, "res": 0.2, "downsample_rate": 4},
        target_args={"score_threshold": 0.7},
    )
    hypes["model"]["args"] = {"use_bn": True, "decode": False}
    return hypes


def second() -> dict[str, Any]:
    """SECOND, which needs spconv's sparse convolutions."""
    hypes = point_pillar("second_intermediate", lidar_range=[-51.2, -38.4, -3.0, 51.2, 38.4, 1.0])
    hypes["yaml_parser"] = "load_second_params"
    size = [0.1, 0.1, 0.1]
    hypes["preprocess"]["args"].update(voxel_size=size, max_points_per_voxel=5)
    hypes["model"]["args"] = {
        "anchor_number": 2,
        "batch_size": 1,
        "mean_vfe": {"num_point_features": 4},
        "backbone_3d": {},
        "height_compression": {"feature_num": 256},
        "base_bev_backbone": {
            "layer_nums": [1, 1],
            "layer_strides": [1, 2],
            "num_filters": [128, 256],
            "upsample_strides": [1, 2],
            "num_upsample_filter": [256, 256],
        },
        "anchor_num": 2,
    }
    return hypes
