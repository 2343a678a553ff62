from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from robosac.boxes import pose_xyz_rpy
from robosac.detectors.bev.config import FusionName, ModelConfig
from robosac.detectors.bev.fusion import make_fusion
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.types import InputError

MAP = ModelConfig().map

FUSIONS: tuple[FusionName, ...] = ("mean", "max", "attention")


def random_map(seed: int = 0, channels: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=(1, channels, 64, 64)).astype(np.float32))


def test_the_identity_changes_nothing() -> None:
    maps = random_map()
    warped, valid = warp(maps, planar_batch([(0.0, 0.0, 0.0)]), MAP)
    assert valid.all()
    torch.testing.assert_close(warped, maps, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("cols", "rows"), [(5, 0), (0, -3), (-7, 11), (63, 0)])
def test_a_sender_whole_cells_away_is_a_shift(cols: int, rows: int) -> None:
    """A sender at +x sees at its column c what is in the ego's column c + cols."""
    maps = random_map()
    warped, valid = warp(maps, planar_batch([(cols * MAP.cell_m, rows * MAP.cell_m, 0.0)]), MAP)
    expected, covered = torch.zeros_like(maps), torch.zeros(64, 64)
    to_r, to_c = slice(max(rows, 0), 64 + min(rows, 0)), slice(max(cols, 0), 64 + min(cols, 0))
    from_r, from_c = slice(max(-rows, 0), 64 - max(rows, 0)), slice(max(-cols, 0), 64 - max(cols, 0))
    expected[..., to_r, to_c] = maps[..., from_r, from_c]
    covered[to_r, to_c] = 1
    assert torch.equal(valid[0, 0], covered)
    torch.testing.assert_close(warped, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_exact(quarters: int) -> None:
    """A sender turned left by 90 degrees: its +x is the ego's +y, so the ego's image is its own turned left."""
    maps = random_map()
    warped, valid = warp(maps, planar_batch([(0.0, 0.0, quarters * np.pi / 2)]), MAP)
    assert valid.all()
    # rows run along +y: turning +x towards +y takes columns to rows
    torch.testing.assert_close(warped, torch.rot90(maps, -quarters, dims=(2, 3)), atol=2e-5, rtol=0)


def test_half_a_cell_is_the_mean_of_neighbours() -> None:
    maps = random_map()
    warped, _ = warp(maps, planar_batch([(MAP.cell_m / 2, 0.0, 0.0)]), MAP)
    torch.testing.assert_close(warped[..., 1:], (maps[..., :-1] + maps[..., 1:]) / 2, atol=2e-5, rtol=0)


def test_a_sender_out_of_reach_covers_nothing() -> None:
    warped, valid = warp(random_map(), planar_batch([(200.0, 0.0, 0.3)]), MAP)
    assert not valid.any()
    assert not warped.any()


def test_relative_planar_composes_poses() -> None:
    ego, sender = pose_xyz_rpy(10, 5, 2, yaw_rad=np.pi / 2), pose_xyz_rpy(10, 9, 5.5, 0.01, -0.01, yaw_rad=np.pi)
    assert relative_planar(ego, sender) == pytest.approx((4.0, 0.0, np.pi / 2), abs=1e-3)


def maps_and_validity() -> tuple[Tensor, Tensor]:
    maps = torch.cat([random_map(seed, 32) for seed in range(4)])
    valid = torch.ones(4, 1, 64, 64)
    valid[1, :, :32] = 0
    valid[2] = 0
    return maps * valid, valid


def fuse(name: FusionName, maps: Tensor, valid: Tensor, members: list[list[int]]) -> Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        fused: Tensor = make_fusion(name, 32)(maps, valid, torch.tensor(members, dtype=torch.float32))
    return fused


@pytest.mark.parametrize("name", FUSIONS)
def test_the_ego_alone_is_its_own_map(name: FusionName) -> None:
    maps, valid = maps_and_validity()
    torch.testing.assert_close(fuse(name, maps, valid, [[1, 0, 0, 0]])[0], maps[0])


def test_mean_and_max_against_hand_values() -> None:
    maps, valid = maps_and_validity()
    members = [[1, 1, 1, 1]]
    mean, largest = fuse("mean", maps, valid, members)[0], fuse("max", maps, valid, members)[0]
    torch.testing.assert_close(mean[:, :32], (maps[0] + maps[3])[:, :32] / 2)
    torch.testing.assert_close(mean[:, 32:], (maps[0] + maps[1] + maps[3])[:, 32:] / 3)
    torch.testing.assert_close(largest[:, :32], torch.maximum(maps[0], maps[3])[:, :32])


def test_max_does_not_count_invalid_zeros() -> None:
    maps, valid = maps_and_validity()
    negative = -maps - 1.0
    fused = fuse("max", negative * valid, valid, [[1, 0, 1, 0]])  # teammate 2 is valid nowhere
    torch.testing.assert_close(fused[0], negative[0])


@pytest.mark.parametrize("name", FUSIONS)
def test_a_map_that_is_valid_nowhere_changes_nothing(name: FusionName) -> None:
    maps, valid = maps_and_validity()
    a, b = fuse(name, maps, valid, [[1, 1, 0, 1], [1, 1, 1, 1]])
    assert torch.equal(a, b)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_order_of_maps_does_not_matter(name: FusionName) -> None:
    maps, valid = maps_and_validity()
    reference = fuse(name, maps, valid, [[1, 1, 1, 1]])
    for order in permutations((1, 2, 3)):
        rows = [0, *order]
        torch.testing.assert_close(fuse(name, maps[rows], valid[rows], [[1, 1, 1, 1]]), reference)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_subset_does_not_depend_on_who_is_outside_of_it(name: FusionName) -> None:
    maps, valid = maps_and_validity()
    hostile = maps.clone()
    hostile[3] = 1e30
    torch.testing.assert_close(
        fuse(name, maps, valid, [[1, 1, 1, 0]]), fuse(name, hostile, valid, [[1, 0, 0, 1], [1, 1, 1, 0]])[1:]
    )


def test_attention_is_a_convex_combination() -> None:
    maps, valid = maps_and_validity()
    fused = fuse("attention", maps, valid, [[1, 1, 0, 1]])[0]
    assert (fused <= maps.amax(dim=0) + 1e-6).all()
    assert (fused[:, 32:] >= maps[[0, 1, 3]].amin(dim=0)[:, 32:] - 1e-6).all()
    assert not torch.allclose(fused, fuse("mean", maps, valid, [[1, 1, 0, 1]])[0])


def test_an_unknown_fusion_is_refused() -> None:
    with pytest.raises(InputError, match="expected a fusion of mean, max or attention, got 'sum'"):
        make_fusion("sum", 32)  # type: ignore[arg-type]
