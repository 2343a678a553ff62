"""Detectors by name, and their thresholds: those that this user made, or those beside the weights.

    mean | max | attention | mean-unbounded    one that is shipped
    FILE.safetensors                           one that `robosac train` wrote
    late:NAME, early:NAME                      one of those two on single vehicles, fused by boxes, by points
    FOLDER, or opencood:FOLDER                 a model folder of OpenCOOD or a fork (config.yaml and a checkpoint)
    FILE.pth, opencood:FILE.pth                one checkpoint in such a folder; so is opencood:FOLDER@net_epoch7.pth
    coperception:FUSION:CHECKPOINT             a coperception checkpoint, like coperception:mean:epoch_100.pth
    MODULE:NAME                                one of your own: an object, or a function without arguments that makes it

`~` in a path is the user's home. A name and not an object goes to every worker process, which opens it there.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

from robosac.calibration import Calibration
from robosac.errors import did_you_mean, warn
from robosac.files import user_cache
from robosac.fingerprint import file_fingerprint, fingerprint
from robosac.registry.own import own
from robosac.types import Detector, InputError

CALIBRATIONS: Final = "calibrations"  # the folder of this user's own, in the cache
CONTENT: Final = "content"  # what a calibration's source calls the fingerprint of the detector


def open_detector(name: str, *, device: str = "cpu", root: Path | None = None) -> Detector:
    """The detector of a name as above. `root` is a checkout of its framework, where that is not installed.

    Raises:
        InputError: if the name means nothing, or what it names cannot be opened; says what to do.
    """
    name = expanded(name)
    kind, _, rest = name.partition(":")
    if is_opencood(name):
        opencood = _package("robosac.detectors.adapters.opencood").OpenCOODDetector
        folder, checkpoint = checkpoint_in(rest or name)
        if kind != "opencood" and checkpoint and not (folder / "config.yaml").is_file():
            raise InputError(
                f"expected the configuration at {folder / 'config.yaml'}, found none beside the checkpoint; one of "
                "coperception is named coperception:FUSION:FILE, other weights of a model folder opencood:FOLDER@FILE"
            )
        return cast(Detector, opencood.from_folder(folder, root=root, checkpoint=checkpoint, device=device))
    if kind == "coperception":
        return _coperception(rest, device, root)
    if kind in ("late", "early"):
        return _of_single(kind, rest, device)
    if rest and not name.endswith(".safetensors"):
        return _own_detector(name)
    shipped = _package("robosac.detectors")
    if name not in shipped.SHIPPED and Path(name).suffix != ".safetensors":
        raise InputError(
            f"expected a shipped detector ({', '.join(shipped.SHIPPED)}), FILE.safetensors, the folder of an OpenCOOD "
            "model or FOLDER/FILE.pth, coperception:FUSION:CHECKPOINT, late:NAME or early:NAME (of one of the first "
            f"two) or MODULE:NAME, got {name!r}{did_you_mean(name, shipped.SHIPPED)}"
        )
    return cast(Detector, shipped.load(name, device=device))


def expanded(name: str) -> str:
    """A name with the user's home in place of `~` where a path begins with it."""
    kind, colon, rest = name.rpartition(":")
    return f"{kind}{colon}{Path(rest).expanduser()}" if rest.startswith("~") else name


def is_opencood(name: str) -> bool:
    """Whether a name is that of an OpenCOOD model: `opencood:...`, its folder, or a checkpoint in it."""
    kind, _, rest = name.partition(":")
    return kind == "opencood" or (not rest and (Path(name).is_dir() or Path(name).suffix == ".pth"))


def checkpoint_in(name: str) -> tuple[Path, str | None]:
    """The folder and the checkpoint of `FOLDER@FILE` or `FOLDER/FILE.pth`; of a folder alone, None."""
    path = Path(name)
    if path.suffix == ".pth" and path.is_file():
        return path.parent, path.name
    if path.exists() or "@" not in name:
        return path, None
    cuts = [k for k, letter in enumerate(name) if letter == "@" and name[k + 1 :]]
    known = (k for k in cuts if Path(name[:k]).is_dir())  # a folder or a file may have @ in its own name
    at = next(known, cuts[-1] if cuts else None)
    return (path, None) if at is None else (Path(name[:at]), name[at + 1 :])


def _of_single(kind: str, name: str, device: str) -> Detector:
    """Late or early fusion of a network of ours that is asked about one vehicle's points; named `late:mean`, with
    thresholds beside its weights in `late-mean.calibration.json`."""
    shipped = _package("robosac.detectors")
    if name not in shipped.SHIPPED and Path(name).suffix != ".safetensors":
        close = did_you_mean(name, shipped.SHIPPED)
        raise InputError(
            f"expected {kind}:NAME of {', '.join(shipped.SHIPPED)} or a FILE.safetensors, got {name!r}{close}"
        )
    one: Any = _package("robosac.detectors.fusion.single").single(name, device=device)
    made: Any = shipped.LateFusion if kind == "late" else shipped.EarlyFusion
    beside = Path(name) if name not in shipped.SHIPPED else shipped.WEIGHTS / name
    thresholds = beside.with_name(f"{kind}-{beside.name.removesuffix('.safetensors')}.calibration.json")
    return cast(Detector, made(one, name=f"{kind}:{name}", grid=one.grid, calibration_file=thresholds))


def _coperception(name: str, device: str, root: Path | None) -> Detector:
    fusion, _, checkpoint = name.partition(":")
    if not checkpoint:
        raise InputError(f"expected coperception:FUSION:CHECKPOINT, like coperception:mean:epoch_9.pth, got {fusion!r}")
    made: Any = _package("robosac.detectors.adapters.coperception").CoperceptionDetector
    return cast(Detector, made.from_checkpoint(Path(checkpoint), model=fusion, root=root, device=device))


def _own_detector(name: str) -> Detector:
    found = own(name, lambda it: isinstance(it, Detector) and not isinstance(it, type))
    if not isinstance(found, Detector):
        raise InputError(
            f"expected {name} to be a detector (name, grid, codec, encode, open; docs/own_detector.md) "
            f"or to make one, got {type(found).__name__}"
        )
    return found


def cached_detector(name: str, device: str, root: Path | None) -> Detector:
    """`open_detector`, once a process, and again where the file or folder of the name was changed."""
    name = expanded(name)
    opencood, checkpoint = checkpoint_in(name.removeprefix("opencood:"))  # its configuration lies beside a checkpoint
    parts = [Path(name), Path(name.rpartition(":")[2]), opencood, *([] if checkpoint is None else [Path(checkpoint)])]
    return _cached(name, device, root, tuple(file_fingerprint(p) for p in parts if p.exists()))


@lru_cache(maxsize=2)
def _cached(name: str, device: str, root: Path | None, content: tuple[str, ...]) -> Detector:
    return open_detector(name, device=device, root=root)


def calibration_beside(detector: Detector) -> Path | None:
    """Where a detector's thresholds are kept: beside its weights. None for one that came from no file."""
    path = getattr(detector, "calibration_file", None)
    return path if isinstance(path, Path) else None


def own_calibration(detector: Detector) -> Path | None:
    """Where thresholds that this user makes of a detector are kept, unless another file is named: beside its weights,
    or, where these are part of the package, in the user's cache under its name and content. None for a detector that
    came from no file and does not say what it is, so that its thresholds could be mistaken for another's.
    """
    beside = calibration_beside(detector)
    if beside is not None and not beside.resolve().is_relative_to(_package("robosac.detectors").WEIGHTS.resolve()):
        return beside
    content = content_of(detector)
    if content is None:
        return None
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in detector.name)
    return user_cache() / CALIBRATIONS / f"{name}-{content[:12]}.json"


def saved_calibration(detector: Detector) -> Calibration | None:
    """The thresholds that this user made of a detector, which is said; else those kept beside its weights (for those
    shipped, always). None where there are none."""
    beside = calibration_beside(detector)
    own = own_calibration(detector) if (user_cache() / CALIBRATIONS).is_dir() else None
    if own is not None and own != beside and own.exists():
        found = loaded_calibration(own, detector)
        warn(
            f"thresholds of {detector.name!r}: your own in {own} (from {found.source.get('data', 'unknown data')}); "
            "remove the file, or name another with --calibration, for others"
        )
        return found
    return loaded_calibration(beside, detector) if beside is not None and beside.exists() else None


def loaded_calibration(path: Path, detector: Detector) -> Calibration:
    """The thresholds of a file; a warning where they were read off another model of the detector's name.

    Raises:
        InputError: there is none, or it holds something else.
    """
    found, now = Calibration.load(path), content_of(detector)
    if found.detector == detector.name and now is not None and found.source.get(CONTENT, now) != now:
        warn(
            f"the thresholds in {path} were read off other weights, settings or code of {detector.name!r}: what they "
            "promise does not hold; run `robosac calibrate` again"
        )
    return found


def content_of(detector: Detector) -> str | None:
    """Fingerprint of what a detector is; None of one that does not say it, whose attributes may change as it works."""
    return fingerprint(detector) if callable(getattr(detector, "fingerprint", None)) else None


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"expected PyTorch for detectors, got {error}; pip install torch") from error
