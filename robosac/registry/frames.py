"""Honest frames by name, for calibration and checks.

    simulated            scenes of the built-in simulation
    sim:PRESET           those of another preset, like sim:road
    opv2v:PATH           a data set on disk: OPV2V, V2XSet
    v2xsim:PATH          V2X-Sim
    dair:PATH            DAIR-V2X-C
    data:PATH, PATH      any of these, by what the path holds
    bag:FILE.yaml        scans and poses of ROS 2 bags (`robosac.data.bag`)
    framework:FOLDER     the same by the reader of the detector's own framework (OpenCOOD)
    MODULE:NAME          your own: a sequence of `Frame`s, or a function that makes one

A PATH is read by `robosac.data`, for every detector alike: the first agent of a scenario is the ego, unless another is
asked for, and teammates are those within 70 m of it. So frames are the same whatever reads them, and files are treated
as untrusted. A framework's own reader prepares frames just as it did for training, and trusts its files; it is asked by
`framework:FOLDER`, and where a folder's layout is none that `robosac.data` knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

from robosac.data.dataset import EACH, FIRST
from robosac.data.noise import Disturbance, Gaussian
from robosac.errors import did_you_mean
from robosac.registry.data import SIMULATED as SIM
from robosac.registry.data import USUAL, kind_and_rest, open_recording
from robosac.registry.detectors import cached_detector
from robosac.registry.own import own
from robosac.types import Detector, Frame, InputError, keyed_rng

if TYPE_CHECKING:
    from robosac.simulation import SimConfig

SIMULATED: Final = USUAL
EXACT: Final = Disturbance()


@runtime_checkable
class ReadsData(Protocol):
    """A detector whose framework has a reader for data sets on disk."""

    def frames(self, folder: Path) -> Sequence[Frame]:
        """The frames of a data set, read when they are asked for."""
        ...


def open_frames(
    name: str,
    detector: Detector,
    *,
    split: str = "calibration",
    seed: int = 0,
    disturbed: Disturbance = EXACT,
    classes: Collection[str] | None = None,
    ego: str = FIRST,
) -> Sequence[Frame]:
    """The frames of a name as above; reading one may take a while, having the sequence does not.

    `disturbed` says how wrong their poses are and how late teammates, of simulated frames and of a data set's;
    `classes` which of a data set's objects count, for who asks its truth; `ego` whose view of a data set, as in
    `robosac.data.dataset.DataSet`.

    Raises:
        InputError: if the name means nothing or holds no frames; says what to do.
    """
    named = kind_and_rest(name)
    if is_simulated(name):
        if classes is not None:
            raise InputError("expected a data set's folder with --classes, got simulated frames, which hold vehicles")
        if ego != FIRST:
            raise InputError(f"expected a data set's folder with --ego {ego}, got simulated frames, which have one ego")
        from robosac.simulation import SimConfig

        config = None if name == SIMULATED else SimConfig.preset(name.partition(":")[2])
        return SimulatedFrames(split, seed, disturbed, config)
    if named is not None:
        return _data_set(name, Path(named[1]), detector, disturbed, classes, ego)
    if ego != FIRST:
        raise InputError(f"expected a data set's folder with --ego, got {name!r}")
    kind, _, rest = name.partition(":")
    if _is_disturbed(disturbed):
        raise InputError(f"expected {SIMULATED!r} or a data set's folder with --pose-noise or --delay, got {name!r}")
    if classes is not None:
        raise InputError(f"expected a data set's folder with --classes, got {name!r}")
    if kind == "bag":
        from robosac.data.bag import BagFrames

        return BagFrames(Path(rest).expanduser())
    if kind == "framework":
        return _framework_frames(Path(rest).expanduser(), detector)
    if ":" not in name:
        from robosac.simulation.config import PRESETS

        close = did_you_mean(f"{SIM}:{name}", [f"{SIM}:{preset}" for preset in PRESETS])
        raise InputError(
            f"expected {SIMULATED!r}, sim:PRESET, an existing folder or MODULE:NAME for frames, got {name!r}{close}"
        )
    found = own(name, lambda it: hasattr(it, "__getitem__"))
    if isinstance(found, Iterator):
        found = list(found)
    if not (hasattr(found, "__len__") and hasattr(found, "__getitem__")) or not len(found):
        raise InputError(f"expected {name} to be or to make a sequence of frames, got {type(found).__name__}")
    return cast(Sequence[Frame], found)


def disturbance(pose_noise: str | None, delay: int, seed: int) -> Disturbance:
    """Of `METRES` or `METRES,DEGREES`, the standard deviations of errors of all poses, and of frames that teammates are
    late.

    Raises:
        InputError: the text holds no such numbers.
    """
    noise = None
    if pose_noise is not None:
        try:
            sizes = [float(size) for size in pose_noise.split(",")]
            metres, degrees = sizes if len(sizes) > 1 else (*sizes, 0.0)
        except ValueError:
            raise InputError(f"expected --pose-noise METRES or METRES,DEGREES, got {pose_noise!r}") from None
        noise = Gaussian(sigma_m=metres, sigma_deg=degrees)
    return Disturbance(pose_noise=noise, delay_frames=delay, seed=seed)


def is_simulated(name: str) -> bool:
    """Whether frames of a name are simulated, so that every scene has frames before."""
    return name == SIMULATED or name.startswith("sim:")


def may_be_disturbed(name: str) -> bool:
    """Whether frames of a name can be had with noisy poses: simulated ones and those of a data set on disk."""
    return is_simulated(name) or kind_and_rest(name) is not None


def frame_at(frames: Sequence[Frame], index: int, name: str) -> Frame:
    """One frame of what `open_frames` gave for a name. InputError if there is none, or it is no `Frame`."""
    if index >= len(frames):
        raise InputError(f"expected --frame below {len(frames)}, which {name} holds, got {index}")
    found: object = frames[index]
    if not isinstance(found, Frame):
        raise InputError(f"expected {name} to hold robosac.types.Frame, got {type(found).__name__}")
    return found


def _is_disturbed(how: Disturbance) -> bool:
    return how.pose_noise is not None or how.delay_frames > 0


def _framework_frames(folder: Path, detector: Detector) -> Sequence[Frame]:
    if not isinstance(detector, ReadsData):
        raise InputError(
            f"expected a detector whose framework has a reader, got {detector.name!r}, which has none; give {folder} "
            "without framework:, or MODULE:NAME, a sequence of robosac.types.Frame"
        )
    if not folder.is_dir():
        raise InputError(f"expected framework:FOLDER, got {folder}, which is no folder")
    return detector.frames(folder)


def _data_set(
    name: str, path: Path, detector: Detector, disturbed: Disturbance, classes: Collection[str] | None, ego: str
) -> Sequence[Frame]:
    from robosac.data.dataset import DataSet
    from robosac.data.layout import UnknownLayoutError

    try:
        recording = open_recording(name, classes)
    except UnknownLayoutError:
        if isinstance(detector, ReadsData) and path.is_dir() and not _is_disturbed(disturbed):
            return detector.frames(path)
        raise
    noise, delay = disturbed.pose_noise, disturbed.delay_frames
    frames = DataSet(recording, pose_noise=noise, delay_frames=delay, seed=disturbed.seed, ego=whose(ego)).frames
    if not len(frames):
        raise InputError(f"expected frames in {path}, got none; look at it with robosac inspect {path}")
    return frames


def whose(ego: str) -> str:
    """An ego as the command line names it, as `DataSet` does: `all` is `each`."""
    return EACH if ego == "all" else ego


class SimulatedFrames(Sequence[Frame]):
    """The first frame of each scene of a split that can be had; endless, but for its length of a million."""

    def __init__(self, split: str, seed: int, disturbed: Disturbance = EXACT, config: SimConfig | None = None) -> None:
        self._split, self._seed, self._disturbed, self._config = split, seed, disturbed, config

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: Any) -> Any:
        from robosac.simulation import scenario

        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        scene = scenario(self._split, int(index), seed=self._seed, config=self._config)
        return self._disturbed.frame(lambda k: scene.snapshot(k).frame()[0], self._disturbed.delay_frames)


def choose(n_frames: int, available: Sequence[Frame], seed: int) -> list[int]:
    """Indices of frames, spread over all there are: neighbours in a drive say the same thing twice."""
    if isinstance(available, SimulatedFrames):
        return list(range(n_frames))  # each is a scene of its own
    rng = keyed_rng(seed, "calibrate", "frames")
    return [int(i) for i in rng.permutation(len(available))[:n_frames]]


@lru_cache(maxsize=2)
def cached_frames(
    name: str,
    detector: str,
    device: str,
    root: Path | None,
    seed: int,
    disturbed: Disturbance = EXACT,
    classes: tuple[str, ...] | None = None,
    ego: str = FIRST,
) -> Sequence[Frame]:
    """`open_frames`, once a process."""
    opened = cached_detector(detector, device, root)
    return open_frames(name, opened, seed=seed, disturbed=disturbed, classes=classes, ego=ego)
