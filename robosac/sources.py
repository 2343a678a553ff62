"""Detectors and frames by name, as the command line gives them.

A detector is named by
    mean | max | attention | mean-unbounded    one that is shipped
    FILE.safetensors                           one that `robosac train` wrote
    late:NAME, early:NAME                      one of those two on single vehicles, fused by boxes, by points
    FOLDER, or opencood:FOLDER                 an OpenCOOD model folder (config.yaml and a checkpoint)
    coperception:FUSION:CHECKPOINT             a coperception checkpoint, like coperception:mean:epoch_100.pth
    MODULE:NAME                                one of your own: an object, or a function without arguments that makes it

Honest frames are named by
    simulated                                  scenes of the built-in simulation
    FOLDER                                     a data set on disk: OPV2V, V2XSet, V2X-Sim, DAIR-V2X-C
    framework:FOLDER                           the same by the reader of the detector's own framework (OpenCOOD)
    MODULE:NAME                                your own: a sequence of `Frame`s, or a function that makes one

A FOLDER is read by `robosac.data`, for every detector alike: the first agent of a scenario is the ego, and teammates
are those within 70 m of it. So frames are the same whatever reads them, and files are treated as untrusted. A
framework's own reader prepares frames just as it did for training, and trusts its files; it is asked by
`framework:FOLDER`, and where a folder's layout is none that `robosac.data` knows.

A name and not an object goes to every worker process, which opens it there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

from robosac.types import Detector, Frame, InputError, keyed_rng

SIMULATED: Final = "simulated"


@runtime_checkable
class ReadsData(Protocol):
    """A detector whose framework has a reader for data sets on disk."""

    def frames(self, folder: Path) -> Sequence[Frame]:
        """The frames of a data set, read when they are asked for."""
        ...


def open_detector(name: str, *, device: str = "cpu", root: Path | None = None) -> Detector:
    """The detector of a name as above. `root` is a checkout of its framework, where that is not installed.

    Raises:
        InputError: if the name means nothing, or what it names cannot be opened; says what to do.
    """
    kind, _, rest = name.partition(":")
    if kind == "opencood" or (not rest and Path(name).is_dir()):
        return _opencood(Path(rest or name), device, root)
    if kind in ("late", "early"):
        return _of_single(kind, rest, device)
    if kind == "coperception":
        fusion, _, checkpoint = rest.partition(":")
        return _coperception(fusion, checkpoint, device, root)
    if rest and not name.endswith(".safetensors"):
        return _own_detector(name)
    shipped = _package("robosac.detectors")
    if name not in shipped.SHIPPED and Path(name).suffix != ".safetensors":
        raise InputError(
            f"expected a shipped detector ({', '.join(shipped.SHIPPED)}), FILE.safetensors, the folder of an OpenCOOD "
            f"model, coperception:FUSION:CHECKPOINT, late:NAME or early:NAME (of one of the first two) or MODULE:NAME, "
            f"got {name!r}"
        )
    return cast(Detector, shipped.load(name, device=device))


def _of_single(kind: str, name: str, device: str) -> Detector:
    """Late or early fusion of a network of ours that is asked about one vehicle's points; named `late:mean`."""
    shipped = _package("robosac.detectors")
    if name not in shipped.SHIPPED and Path(name).suffix != ".safetensors":
        raise InputError(f"expected {kind}:NAME of {', '.join(shipped.SHIPPED)} or a FILE.safetensors, got {name!r}")
    one: Any = _package("robosac.detectors.fusion.single").single(name, device=device)
    made: Any = shipped.LateFusion if kind == "late" else shipped.EarlyFusion
    return cast(Detector, made(one, name=f"{kind}:{name}", grid=one.grid))


def _opencood(folder: Path, device: str, root: Path | None) -> Detector:
    made: Any = _package("robosac.detectors.adapters.opencood").OpenCOODDetector
    return cast(Detector, made.from_folder(folder, root=root, device=device))


def _coperception(fusion: str, checkpoint: str, device: str, root: Path | None) -> Detector:
    if not checkpoint:
        raise InputError(f"expected coperception:FUSION:CHECKPOINT, like coperception:mean:epoch_9.pth, got {fusion!r}")
    made: Any = _package("robosac.detectors.adapters.coperception").CoperceptionDetector
    return cast(Detector, made.from_checkpoint(Path(checkpoint), model=fusion, root=root, device=device))


def _own_detector(name: str) -> Detector:
    found = _imported(name)
    if isinstance(found, type) or not isinstance(found, Detector):
        found = _called(found, name)
    if not isinstance(found, Detector):
        raise InputError(
            f"expected {name} to be a detector (name, grid, codec, request, encode, open; docs/own_detector.md) "
            f"or to make one, got {type(found).__name__}"
        )
    return found


def open_frames(name: str, detector: Detector, *, split: str = "calibration", seed: int = 0) -> Sequence[Frame]:
    """The frames of a name as above; reading one may take a while, having the sequence does not.

    Raises:
        InputError: if the name means nothing or holds no frames; says what to do.
    """
    if name == SIMULATED:
        return SimulatedFrames(split, seed)
    kind, _, rest = name.partition(":")
    if kind == "framework":
        return _framework_frames(Path(rest), detector)
    if Path(name).exists():
        return _data_set(Path(name), detector)
    if ":" not in name:
        raise InputError(f"expected {SIMULATED!r}, an existing folder or MODULE:NAME for frames, got {name!r}")
    found = _imported(name)
    if not hasattr(found, "__getitem__"):
        found = _called(found, name)
    if isinstance(found, Iterator):
        found = list(found)
    if not (hasattr(found, "__len__") and hasattr(found, "__getitem__")) or not len(found):
        raise InputError(f"expected {name} to be or to make a sequence of frames, got {type(found).__name__}")
    return cast(Sequence[Frame], found)


def _framework_frames(folder: Path, detector: Detector) -> Sequence[Frame]:
    if not isinstance(detector, ReadsData):
        raise InputError(
            f"expected a detector whose framework has a reader, got {detector.name!r}, which has none; give {folder} "
            "without framework:, or MODULE:NAME, a sequence of robosac.types.Frame"
        )
    if not folder.is_dir():
        raise InputError(f"expected framework:FOLDER, got {folder}, which is no folder")
    return detector.frames(folder)


def _data_set(path: Path, detector: Detector) -> Sequence[Frame]:
    from robosac.data.dataset import DataSet
    from robosac.data.layout import UnknownLayoutError, recognise

    try:
        recording = recognise(path)
    except UnknownLayoutError:
        if isinstance(detector, ReadsData) and path.is_dir():
            return detector.frames(path)
        raise
    frames = DataSet(recording).frames
    if not len(frames):
        raise InputError(f"expected frames in {path}, got none; look at it with robosac data inspect {path}")
    return frames


class SimulatedFrames(Sequence[Frame]):
    """One frame of each scene of a split; endless, but for its length of a million."""

    def __init__(self, split: str, seed: int) -> None:
        self._split, self._seed = split, seed

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: Any) -> Any:
        from robosac.simulation import scenario

        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frame, _ = scenario(self._split, int(index), seed=self._seed).snapshot(0).frame()
        return frame


def choose(n_frames: int, available: Sequence[Frame], seed: int) -> list[int]:
    """Indices of frames, spread over all there are: neighbours in a drive say the same thing twice."""
    if isinstance(available, SimulatedFrames):
        return list(range(n_frames))  # each is a scene of its own
    rng = keyed_rng(seed, "calibrate", "frames")
    return [int(i) for i in rng.permutation(len(available))[:n_frames]]


@lru_cache(maxsize=2)
def cached_detector(name: str, device: str, root: Path | None) -> Detector:
    """`open_detector`, once a process."""
    return open_detector(name, device=device, root=root)


@lru_cache(maxsize=2)
def cached_frames(name: str, detector: str, device: str, root: Path | None, seed: int) -> Sequence[Frame]:
    """`open_frames`, once a process."""
    return open_frames(name, cached_detector(detector, device, root), seed=seed)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"expected PyTorch for detectors, got {error}; pip install torch") from error


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:  # as `python -m` does: what lies where the command runs can be named
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"expected MODULE:NAME that can be imported, got {name!r}: {error}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    return found


def _called(made_by: Any, name: str) -> Any:
    if not callable(made_by):
        return made_by
    try:
        return made_by()
    except TypeError as error:
        raise InputError(f"expected {name} to be callable without arguments, got {error}") from error
