"""What lets OpenCOOD run and be loaded, without any OpenCOOD: a made-up checkout stands for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robosac.detectors.adapters.opencood import bridges, folder
from robosac.detectors.adapters.opencood.hypes import load_hypes, read_config
from robosac.detectors.adapters.opencood.pcd import read_pcd
from robosac.detectors.adapters.opencood.standins import STANDINS, overlaps, read_point_cloud
from robosac.detectors.adapters.opencood.voxels import voxelise
from robosac.types import InputError

IMPORTS = {
    "__init__.py": "",
    "utils/__init__.py": "",
    "utils/pcd_utils.py": """
import numpy as np
import open3d as o3d
read = o3d.io.read_point_cloud
def least():
    return np.Inf, np.int(3)
""",
    "pictures.py": """
import cv2, open3d
from matplotlib import cm
colours = cm.get_cmap('plasma')
""",
    "labels.py": "from opencood.utils.box_overlaps import bbox_overlaps",
    "voxels.py": """
from cumm import tensorview as tv
def make():
    try:
        from spconv.utils import VoxelGeneratorV2
    except ImportError:
        from spconv.utils import Point2VoxelCPU3d
    return Point2VoxelCPU3d
""",
    "training.py": """
import timm
from tensorboardX import SummaryWriter
from sklearn.neighbors import NearestNeighbors
""",
    "cameras.py": """
import torchvision, g2o
from icecream import ic
from torchvision.models.resnet import resnet18
class Inverse(torchvision.transforms.Normalize):
    def __init__(self, mean):
        super().__init__(mean=mean)
    def __call__(self, tensor):
        return super().__call__(tensor)
images = torchvision.transforms.Compose((Inverse(0.5), torchvision.transforms.ToTensor()))
inverse = Inverse(0.5)
class Graph(g2o.SparseOptimizer):
    def __init__(self):
        super().__init__()
shown = ic(3)
""",
    "models/__init__.py": "",
    "models/second.py": """
import spconv
try:
    from spconv import SubMConv3d
except ImportError:
    from spconv.pytorch import SubMConv3d
class Second:
    def __init__(self, args):
        self.layer = spconv.SubMConv3d(4, 16)
""",
    "models/sparse.py": "from spconv.modules import SparseModule",
    "models/toy_net.py": """
import torch
class ToyNet(torch.nn.Linear):
    def __init__(self, args):
        if 'compression' in args:
            10 / args['compression']
        super().__init__(args['width'], 2)
""",
    "models/misnamed.py": "from torch.nn import Linear",
    "hypes_yaml/__init__.py": "",
    "hypes_yaml/yaml_utils.py": """
import numpy as np
def load_toy_params(param):
    param['model']['args']['grid'] = np.array([4, 4])
    return param
""",
}


def write_checkout(root: Path) -> Path:
    for name, text in IMPORTS.items():
        path = root / "opencood" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A checkout that imports what OpenCOOD imports; forgotten again, as one process holds one copy."""
    kept = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "opencood"}
    for name in kept:
        del sys.modules[name]
    yield write_checkout(tmp_path / "checkout")
    for name in [n for n in sys.modules if n.split(".")[0] == "opencood"]:
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on `sys.path`, before all others."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


absent = pytest.mark.skipif(
    any(name in sys.modules or __import__("importlib.util").util.find_spec(name) for name in ("spconv", "cv2", "timm")),
    reason="the originals are installed: no stand-in is shown",
)


# ------------------------------------------------------------------------------------------------- the bridges
@absent
def test_everything_imports_within_and_nothing_is_left_outside(root: Path) -> None:
    import matplotlib.cm  # before: the bridges import it themselves

    before = set(sys.modules), list(sys.path), list(sys.meta_path), set(vars(np)), set(vars(matplotlib.cm))
    with bridges.bridged(root):
        pcd = bridges.import_module("opencood.utils.pcd_utils", root)
        assert pcd.least() == (np.inf, 3)
        assert len(bridges.import_module("opencood.pictures", root).colours.colors) == 256
        for name in ("labels", "training"):
            bridges.import_module(f"opencood.{name}", root)
        maker = bridges.import_module("opencood.voxels", root).make()
        assert maker is STANDINS["spconv.utils"]("spconv.utils").Point2VoxelCPU3d
    after = {n for n in sys.modules if n.split(".")[0] != "opencood"}
    assert after == before[0]
    assert (list(sys.path), list(sys.meta_path), set(vars(np)), set(vars(matplotlib.cm))) == before[1:]
    assert pcd.read is read_point_cloud  # what OpenCOOD has bound stays with it
    with pytest.raises(AttributeError):
        pcd.least()  # what it looks up when called is there only within
    with bridges.bridged():
        assert pcd.least() == (np.inf, 3)


def test_entering_again_and_from_threads_keeps_the_bridges_up_until_the_last_leaves(root: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with bridges.bridged(root):
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    with bridges.bridged(root), bridges.bridged(root):
        other.start()
        assert inside.wait(10)
    assert hasattr(np, "int")
    leave.set()
    other.join()
    assert not hasattr(np, "int")


def test_an_error_within_takes_the_bridges_down(root: Path) -> None:
    before = list(sys.path), list(sys.meta_path)
    with pytest.raises(KeyError), bridges.bridged(root):
        raise KeyError
    assert (list(sys.path), list(sys.meta_path), hasattr(np, "int")) == (*before, False)


def test_an_original_that_works_is_used(root: Path, path: Path) -> None:
    (path / "timm.py").write_text("mark = 'the original'\n")
    with bridges.bridged(root):
        import timm  # type: ignore[import-not-found]

        assert timm.mark == "the original"
    assert sys.modules.pop("timm") is timm  # an original stays imported
    assert "robosac" not in type(timm.__loader__).__module__ and "bridges" not in type(timm.__loader__).__module__


@absent
@pytest.mark.parametrize("fault", ["OSError('libusb-1.0.so.0: cannot open')", "ImportError('numpy.core.multiarray')"])
def test_an_original_that_does_not_import_is_stood_in_for(
    root: Path, path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridges._BRIDGES._finder, "broken", set())
    (path / "open3d").mkdir()
    (path / "open3d" / "__init__.py").write_text(f"import open3d.half\nraise {fault}\n")
    (path / "open3d" / "half.py").touch()
    with bridges.bridged(root):
        pcd = bridges.import_module("opencood.utils.pcd_utils", root)
        assert pcd.read is read_point_cloud
    assert not [n for n in sys.modules if n.startswith("open3d")]


@absent
def test_using_what_only_imports_names_what_to_install(root: Path) -> None:
    pictures = bridges.import_module("opencood.pictures", root)
    with pytest.raises(InputError, match=r"cv2\.polylines is absent .*; pip install opencv-python-headless"):
        pictures.cv2.polylines()
    with pytest.raises(InputError, match=r"open3d\.geometry is absent .*libusb"):
        pictures.open3d.geometry.PointCloud()
    assert not hasattr(pictures.cv2, "__file__")  # introspection is not use


@absent
def test_what_cannot_be_stood_in_for_is_named_with_its_remedy(root: Path) -> None:
    second = bridges.import_module("opencood.models.second", root)
    with pytest.raises(InputError, match=r"spconv\.SubMConv3d is absent .*; pip install spconv==2\.3\.8"):
        second.Second({})
    with pytest.raises(InputError, match=r"No module named 'spconv.modules'.*; pip install spconv==2\.3\.8"):
        bridges.import_module("opencood.models.sparse", root)
    with pytest.raises(
        InputError, match=r"has no opencood\.models\.newer; a newer checkout may: .*pip install.*root=PATH"
    ):
        bridges.import_module("opencood.models.newer", root)


def test_no_opencood_says_both_ways(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridges, "PACKAGE", "opencood_nowhere")
    with (
        pytest.raises(InputError, match=r"not installed; .*pip install --no-deps opencoodx.*root=PATH"),
        bridges.bridged(),
    ):
        pass
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"expected root to be a checkout"), bridges.bridged(root / "opencood"):
        pass


def test_a_second_copy_is_refused(root: Path, tmp_path: Path) -> None:
    bridges.import_module("opencood", root)
    assert bridges.location() == root
    other = write_checkout(tmp_path / "other")
    before = list(sys.path)
    with pytest.raises(InputError, match="already imported OpenCOOD from"), bridges.bridged(other):
        pass
    assert sys.path == before


def test_a_fork_is_told_by_its_files_and_both_are_named(root: Path, tmp_path: Path) -> None:
    marks = {"HEAL": "heter_model_baseline.py", "CoAlign": "fuse_modules/fusion_in_one.py", "OpenCOOD": "second.py"}
    for name, file in marks.items():
        other = write_checkout(tmp_path / name)
        (other / "opencood" / "models" / file).parent.mkdir(exist_ok=True)
        (other / "opencood" / "models" / file).touch()
        assert bridges.framework(other) == name
    assert bridges.framework() == "OpenCOOD"  # none is imported yet
    bridges.import_module("opencood", tmp_path / "HEAL")
    assert bridges.framework() == "HEAL"
    with pytest.raises(InputError, match=r"expected CoAlign from .*already imported HEAL from .*start another process"):
        bridges.import_module("opencood", tmp_path / "CoAlign")


def test_what_forks_import_for_pictures_is_made_and_says_what_to_install_when_used(root: Path) -> None:
    camera = bridges.import_module("opencood.cameras", root)
    if "Stand-in of robosac" not in (camera.torchvision.__doc__ or ""):
        pytest.skip("torchvision is here")
    assert camera.shown == 3
    for used in (camera.images, camera.inverse):
        with pytest.raises(InputError, match="pip install torchvision"):
            used(1)
    with pytest.raises(InputError, match="pip install g2o-python"):
        camera.Graph()


def test_overlaps_count_the_far_edge() -> None:
    a = np.array([[0, 0, 9, 9], [100, 100, 109, 109]], np.float32)  # 10 pixels a side
    b = np.array([[0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9]], np.float32)
    np.testing.assert_allclose(overlaps(a, b), [[1, 50 / 150, 0], [0, 0, 0]], rtol=1e-6)
    assert overlaps(a[:0], b).shape == (0, 3)


# ------------------------------------------------------------------------------------------------------ voxels
def test_voxels_by_hand() -> None:
    points = np.array(
        [
            [2.5, 0.5, 0.5, 1],
            [0.5, 0.5, 0.5, 2],
            [2.9, 0.1, 0.2, 3],
            [2.0, 0.9, 0.9, 4],
            [3.0, 0, 0, 5],
            [1.5, 0, 0, 6],
        ],
        np.float32,
    )
    features, coords, counts = voxelise(points, [1, 1, 1], [0, 0, 0, 3, 1, 1], 2, 2)
    np.testing.assert_array_equal(coords, [[0, 0, 2], [0, 0, 0]])  # in order of birth, [z y x]; a third is not born
    np.testing.assert_array_equal(counts, [2, 1])  # the fourth point finds its voxel full, the fifth is outside
    np.testing.assert_array_equal(features[0, :, 3], [1, 3])
    np.testing.assert_array_equal(features[1], [[0.5, 0.5, 0.5, 2], [0, 0, 0, 0]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 12))
def test_voxels_agree_with_a_loop_over_points(seed: int, per: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 4, (rng.integers(0, 60), 4)).astype(np.float32)
    points[rng.uniform(size=len(points)) < 0.1, 0] = np.nan
    held: dict[tuple[int, ...], list[np.ndarray]] = {}
    for p in points:
        if not ((p[:3] >= 0) & (p[:3] < 3)).all():
            continue
        cell = tuple(np.floor(p[:3]).astype(int)[::-1])
        if cell not in held and len(held) < most:
            held[cell] = []
        if cell in held and len(held[cell]) < per:
            held[cell].append(p)
    features, coords, counts = voxelise(points, [1, 1, 1], [0, 0, 0, 3, 3, 3], per, most)
    assert [tuple(c) for c in coords] == list(held)
    assert counts.tolist() == [len(h) for h in held.values()]
    for row, kept in zip(features, held.values(), strict=True):
        np.testing.assert_array_equal(row[: len(kept)], kept)
        assert not row[len(kept) :].any()


@pytest.mark.parametrize(
    ("points", "size", "bounds", "match"),
    [
        (np.zeros((3, 2)), [1, 1, 1], [0, 0, 0, 3, 3, 3], r"\(N, 3 or more\)"),
        (np.zeros((3, 4)), [1, 1, 0], [0, 0, 0, 3, 3, 3], "positive voxel sizes"),
        (np.zeros((3, 4)), [1, 1], [0, 0, 0, 3, 3, 3], "3 voxel sizes and 6 bounds"),
        (np.zeros((3, 4)), [1, 1, 1], [0, 0, 3, 3, 3, 0], "at least one cell a side"),
    ],
)
def test_what_is_no_grid(points: np.ndarray, size: list[float], bounds: list[float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        voxelise(points, size, bounds, 5, 5)


# --------------------------------------------------------------------------------------------------------- pcd
HEADER = "# .PCD v0.7\nVERSION 0.7\nFIELDS {}\nSIZE {}\nTYPE {}\nCOUNT {}\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA {}\n"


@pytest.mark.parametrize("kind", ["U", "F"])
@pytest.mark.parametrize("layout", ["ascii", "binary"])
def test_a_cloud_with_its_intensity_in_the_red_byte(tmp_path: Path, kind: str, layout: str) -> None:
    packed = np.array([0x336699, 0xFF0000], np.uint32)
    header = HEADER.format("x y z rgb", "4 4 4 4", f"F F F {kind}", "1 1 1 1", layout).encode()
    xyz = np.array([[1.5, -2, 0.25], [1e3, 0.1, -3]], np.float32)
    if layout == "binary":
        rows = np.zeros(2, [("xyz", "<f4", 3), ("rgb", "<u4")])
        rows["xyz"], rows["rgb"] = xyz, packed
        body = rows.tobytes()
    else:
        colour = packed.tolist() if kind == "U" else packed.view(np.float32).tolist()  # 4.7e-39 and the like
        body = "".join(f"{x} {y} {z} {c!r}\n" for (x, y, z), c in zip(xyz.tolist(), colour, strict=True)).encode()
    (tmp_path / "a.pcd").write_bytes(header + body)
    points, colours = read_pcd(tmp_path / "a.pcd")
    np.testing.assert_array_equal(points, xyz.astype(np.float64))
    np.testing.assert_allclose(colours, [[0.2, 0.4, 0.6], [1, 0, 0]])


def test_other_fields_are_skipped_and_no_colour_is_none(tmp_path: Path) -> None:
    header = HEADER.format("x _ y z normal", "8 1 4 4 4", "F U F F F", "1 3 1 1 2", "binary").encode()
    rows = np.zeros(2, [("x", "<f8"), ("pad", "u1", 3), ("yz", "<f4", 2), ("normal", "<f4", 2)])
    rows["x"], rows["yz"] = [1, 2], [[3, 4], [5, 6]]
    (tmp_path / "a.pcd").write_bytes(header + rows.tobytes())
    points, colours = read_pcd(tmp_path / "a.pcd")
    np.testing.assert_array_equal(points, [[1, 3, 4], [2, 5, 6]])
    assert colours is None
    with pytest.raises(InputError, match="takes a point's intensity from the red byte"):
        read_point_cloud(str(tmp_path / "a.pcd"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no DATA line"),
        (HEADER.format("x y z", "4 4 4", "F F F", "1 1 1", "binary"), "2 points take 24 bytes, 0 are there"),
        (HEADER.format("x y z", "4 4 4", "F F F", "1 1 1", "binary_compressed"), "buffer of at least 8 bytes"),
        (HEADER.format("x y", "4 4", "F F", "1 1", "ascii") + "1 2\n3 4\n", "expected fields x y z"),
        (HEADER.format("x y z", "4 4", "F F F", "1 1 1", "ascii"), "3 FIELDS, 3 TYPE, 2 SIZE"),
        (HEADER.format("x y z", "4 4 4", "F F Q", "1 1 1", "ascii"), "KeyError: 'Q'"),
        (HEADER.format("x y z", "4 4 4", "F F F", "1 1 1", "ascii") + "1 2 3\n", "6 numbers cannot be in 6 bytes"),
        (
            HEADER.format("x y z", "4 4 4", "F F F", "1 1 1", "ascii") + "1 2 3 4 5 six\n",
            "expected 6 numbers|unmatched data",
        ),
        (HEADER.format("x y z", "4 4 4", "F F F", "1 1 1", "ascii").replace("POINTS 2", "POINTS"), "IndexError"),
        (HEADER.format("x y z rgb", "4 4 4 1", "F F F U", "1 1 1 1", "binary") + "0" * 26, "rgb of 4 bytes"),
    ],
)
def test_what_is_no_cloud(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.pcd").write_text(text)
    with pytest.raises(InputError, match=match):
        read_pcd(tmp_path / "a.pcd")


# ---------------------------------------------------------------------------------------------- configurations
def test_a_configuration_is_read_as_data(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "eps: 1e-10\ndecay: 1E-4\nbig: 2.5e3\nversion: v1e4\nplain: 3\n"
        "shape: !!python/tuple [4, 5]\nevil: !!python/object/apply:os.mkdir [" + str(tmp_path / "built") + "]\n"
    )
    found = read_config(config)
    assert (found["eps"], found["decay"], found["big"], found["version"]) == (1e-10, 1e-4, 2500.0, "v1e4")
    assert (found["plain"], found["shape"]) == (3, (4, 5))
    with pytest.raises(InputError, match=r"would build Python objects: evil \(object/apply:os.mkdir\)"):
        load_hypes(config)
    assert not (tmp_path / "built").exists()


def test_what_training_dumped_is_derived_again_by_opencoods_parser(root: Path, tmp_path: Path) -> None:
    import yaml

    dumped = {"yaml_parser": "load_toy_params", "model": {"args": {"grid": np.array([7, 7])}}}
    (tmp_path / "config.yaml").write_text(yaml.dump(dumped))
    assert load_hypes(tmp_path / "config.yaml", root)["model"]["args"]["grid"].tolist() == [4, 4]


@pytest.mark.parametrize("parser", ["load_other_params", "os.getcwd", "print"])
def test_a_parser_that_is_not_one_of_opencoods_is_not_called(root: Path, tmp_path: Path, parser: str) -> None:
    (tmp_path / "config.yaml").write_text(f"yaml_parser: {parser}\n")
    with pytest.raises(InputError, match=f"expected yaml_parser in .* among load_toy_params, got '{parser}'"):
        load_hypes(tmp_path / "config.yaml", root)


def test_a_configuration_that_its_parser_cannot_use(root: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("yaml_parser: load_toy_params\n")
    with pytest.raises(InputError, match=r"what load_toy_params needs .*KeyError: 'model'"):
        load_hypes(tmp_path / "config.yaml", root)


@pytest.mark.parametrize(
    ("text", "match"), [("a: [", "expected YAML"), ("- 1\n", "expected a mapping"), ("", "mapping")]
)
def test_what_is_no_configuration(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=match):
        load_hypes(tmp_path / "config.yaml")


# ----------------------------------------------------------------------------------------------------- folders
def toy_folder(place: Path, *, width: int = 3, compression: str = "") -> Path:
    place.mkdir(exist_ok=True)
    (place / "config.yaml").write_text(
        f"yaml_parser: load_toy_params\nmodel:\n  core_method: toy_net\n  args: {{width: {width}{compression}}}\n"
    )
    torch.save(torch.nn.Linear(3, 2).state_dict(), place / "net_epoch1.pth")
    return place


def test_a_folder_gives_its_model(root: Path, tmp_path: Path) -> None:
    place = toy_folder(tmp_path / "model")
    loaded = folder.load_folder(place, root=root)
    assert (type(loaded.model).__name__, loaded.model.training, loaded.legacy) == ("ToyNet", False, True)
    assert loaded.checkpoint == place / "net_epoch1.pth" and loaded.usual


def test_a_checkpoint_may_be_named_and_is_known_for_another_than_the_folder_s(root: Path, tmp_path: Path) -> None:
    place = toy_folder(tmp_path / "model")
    torch.save(torch.nn.Linear(3, 2).state_dict(), place / "net_epoch7.pth")
    for loaded in (
        folder.load_folder(place / "net_epoch1.pth", root=root),
        folder.load_folder(place, root=root, checkpoint="net_epoch1.pth"),
    ):
        assert (loaded.folder, loaded.checkpoint, loaded.usual) == (place, place / "net_epoch1.pth", False)
    assert folder.load_folder(place / "net_epoch7.pth", root=root).usual


@pytest.mark.parametrize("compression", ["", ", compression: 0", ", compression: 2"])
def test_compression_zero_means_none(root: Path, tmp_path: Path, compression: str) -> None:
    place = toy_folder(tmp_path / "model", compression=compression)
    folder.load_folder(place, root=root)  # the toy divides by it, as CoAlign's model does


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        (["net_epoch9.pth", "net_epoch10.pth", "net_epoch2.pth"], "net_epoch10.pth"),
        (["net_epoch9.pth", "latest.pth"], "latest.pth"),
        (["net_epoch9.pth", "latest.pth", "net_epoch_bestval_at7.pth"], "net_epoch_bestval_at7.pth"),
    ],
)
def test_the_checkpoint_is_the_one_that_opencood_would_take(tmp_path: Path, present: list[str], taken: str) -> None:
    for name in [*present, "net_epochs.pth", "notes.txt"]:
        (tmp_path / name).touch()
    assert folder.find_checkpoint(tmp_path).name == taken


def test_each_thing_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which is no folder"):
        folder.load_folder(tmp_path / "nowhere", root=root)
    with pytest.raises(InputError, match=r"configuration at .*config.yaml, found none"):
        folder.load_folder(tmp_path, root=root)
    place = toy_folder(tmp_path / "model")
    with pytest.raises(InputError, match=r"expected a checkpoint at other.pth"):
        folder.load_folder(place, root=root, checkpoint="other.pth")
    (place / "net_epoch1.pth").unlink()
    with pytest.raises(InputError, match=r"expected latest.pth, net_epochN.pth .* found none"):
        folder.load_folder(place, root=root)
    with pytest.raises(InputError, match="expected a device like cpu"):
        folder.load_folder(place, root=root, device="gpu")


@pytest.mark.parametrize("method", [None, 3, "os.path", "../x"])
def test_a_core_method_that_names_no_module(method: object) -> None:
    with pytest.raises(InputError, match=r"expected model.core_method to name a module"):
        folder.build_model({"model": {"core_method": method}})


def test_a_class_that_is_not_there_and_arguments_that_do_not_fit(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected a class named like misnamed in opencood.models.misnamed, got Linear"
    ):
        folder.build_model({"model": {"core_method": "misnamed"}}, root=root)
    with pytest.raises(InputError, match=r"expected model.args that toy_net takes, got KeyError: 'width'"):
        folder.build_model({"model": {"core_method": "toy_net", "args": {}}}, root=root)


def test_a_checkpoint_that_does_not_fit_names_the_differences(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"0.weight": torch.zeros(2, 4), "0.bias": torch.zeros(2), "2.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pth")
    expected = (
        r"w\.pth' to fit Sequential, got 2 missing \(1\.weight, 1\.bias\); 1 unexpected \(2\.weight\); "
        r"1 of another shape \(0\.weight \(2, 4\), model has \(2, 3\)\); is it the checkpoint of another model"
    )
    with pytest.raises(InputError, match=expected):
        folder.load_weights(model, tmp_path / "w.pth")
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_weights_are_data(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (tmp_path / "built",)

    model = torch.nn.Linear(3, 2)
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"\.pth' to hold tensors and plain data only, could not read it"):
        folder.load_weights(model, tmp_path / "evil.pth")
    assert not (tmp_path / "built").exists()
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"\.pth' to hold tensors and plain data only, could not read it"):
        folder.load_weights(model, tmp_path / "text.pth")
    torch.save({"epoch": 3, "model_state_dict": model.state_dict()}, tmp_path / "nested.pth")
    with pytest.raises(InputError, match=r"to hold names and tensors.*, got \['epoch', 'model_state_dict'\]"):
        folder.load_weights(model, tmp_path / "nested.pth")


def test_data_parallel_names_are_recognised(tmp_path: Path) -> None:
    a, b = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    torch.save({f"module.{k}": v for k, v in a.state_dict().items()}, tmp_path / "w.pth")
    folder.load_weights(b, tmp_path / "w.pth")
    assert torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias)


def test_stand_ins_say_what_they_are() -> None:
    for name, build in STANDINS.items():
        made = build(name)
        assert isinstance(made, ModuleType)
        assert made.__doc__ == f"Stand-in of robosac for {name}."
