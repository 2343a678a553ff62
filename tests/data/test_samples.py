"""OPV2V's sample through reader and composition: agents agree on the world, and boxes hold the points they should."""

import numpy as np

from robosac.data.dataset import DataSet
from robosac.data.layout import recognise
from robosac.data.truth import points_in_boxes
from tests.data.samples import OPV2V, TWO_CARS, needs


@needs(OPV2V)
def test_the_agents_lists_agree_in_the_world():
    recording = recognise(OPV2V)
    [scenario] = recording.scenarios()
    [tick] = recording.ticks(scenario)
    agents = recording.present(scenario, tick)
    lists = {a: recording.labels(scenario, tick, [a]) for a in agents}
    assert {a: len(o) for a, o in lists.items()} == {"4279": 21, "4288": 22, "4297": 15}
    union = recording.labels(scenario, tick, agents)
    assert len(union) == 27 and len(set(union.ids)) == 27
    shared = 0
    for one in lists.values():
        for other in lists.values():
            for name in set(one.ids) & set(other.ids):
                i, j = one.ids.index(name), other.ids.index(name)
                assert np.abs(one.world_T_box[i] - other.world_T_box[j])[:3, 3].max() < 1e-3
                assert np.abs(one.world_T_box[i] - other.world_T_box[j]).max() < 1e-3
                shared += one is not other
    assert shared > 20


@needs(OPV2V)
def test_boxes_hold_the_points_of_their_own_agents_cloud():
    recording = recognise(OPV2V)
    [scenario] = recording.scenarios()
    [tick] = recording.ticks(scenario)
    held = {}
    for agent in recording.present(scenario, tick):
        view, listed = recording.view(scenario, tick, agent), recording.labels(scenario, tick, [agent])
        hits = points_in_boxes(view.points, view.world_T_sensor, listed)
        held[agent] = (int((hits >= 5).sum()), len(listed))
        assert 39_000 < len(view.points) < 41_000 and 0 <= view.points[:, 3].min() <= view.points[:, 3].max() <= 1
    # The samples' page counts 19 for 4288. It turns `center` with the box; the field's loaders, and so the reader, add
    # it in world axes, and the fifth point of one box is then 3 cm outside.
    assert held == {"4279": (19, 21), "4288": (18, 22), "4297": (15, 15)}


@needs(OPV2V)
def test_truth_of_the_sample_is_the_same_to_every_ego():
    data = DataSet(recognise(OPV2V), ego="each", comm_range_m=200)
    assert len(data) == 3
    seen = {}
    for frame, truth in data:
        assert len(frame.others) == 2
        assert int(frame.ego.id) not in truth.track_ids  # its own body, which the others list
        world = truth.world_T_sensor[frame.ego.id]
        for box, name in zip(truth.boxes, truth.track_ids.tolist(), strict=True):
            place = world[:3, :3] @ box[:3] + world[:3, 3]
            np.testing.assert_allclose(seen.setdefault(name, place), place, atol=1e-3)
        assert len(truth.boxes) == (26 if frame.ego.id == "4279" else 27)  # the other two are in nobody's list
    assert len(seen) == 27


@needs(TWO_CARS)
def test_two_cars_whose_names_are_no_numbers():
    data = DataSet(recognise(TWO_CARS), ego="car1")
    assert len(data) == 11
    for frame, truth in data:
        assert list(frame.others) == ["car2"] and frame.others["car2"].t_ns == frame.ego.t_ns
        near = np.abs(truth.boxes[:, :2]).max(axis=1) < 1.0
        assert not near.any()  # the ego's own body is no object
        assert truth.visible().sum() >= 0.5 * len(truth.boxes) > 0
    assert len({frozenset(t.track_ids.tolist()) for _, t in data}) < 11  # tracks go on from frame to frame
