"""Detectors by content: opened once a process for each name *and* fingerprint, so that no other weights are taken."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from robosac.boxes import load_kernels
from robosac.calibration import Calibration
from robosac.errors import heard
from robosac.evaluation.play import region_of
from robosac.executors.parcels import file_parcel
from robosac.fingerprint import code_files, fingerprint
from robosac.fingerprint import file_fingerprint as file_name
from robosac.registry.detectors import loaded_calibration, open_detector, saved_calibration
from robosac.registry.settings import plain
from robosac.types import Detector, InputError

WEIGHTS_SUFFIX: Final = ".safetensors"
_KEPT: Final = 4
_open: dict[tuple[str, str, Path | None, str], Detector] = {}  # the last few


@dataclass(frozen=True)
class DetectorRef:
    """A detector by name and content, with its thresholds: what goes to another process, which opens it there."""

    name: str
    device: str
    root: Path | None
    content: str  # fingerprint of weights, settings and code
    calibration: Calibration | None = field(compare=False)
    called: str = field(compare=False)  # the detector's own name
    region: Any = field(compare=False)  # where its results are judged, as plain data
    warned: tuple[str, ...] = field(compare=False)  # what is to be said of it beside its figures
    weights: tuple[Path, str] | None = field(default=None, compare=False)  # where they are one file: it, and its name

    def identity(self) -> dict[str, Any]:
        """What tells it from others, as plain data. Which GPU computes decides nothing."""
        kind = self.device.partition(":")[0]
        content = {"weights": self.content, "region": self.region}
        return {"name": self.name, "detector": self.called, "device": kind, **content}

    def open(self) -> Detector:
        """The detector, on this process's device, opened once a process; ready, so that no frame pays for a start."""
        load_kernels()
        key = (self.name, self.device, self.root, self.content)
        if key not in _open:
            _keep(key, self._on_this_machine())
        return _open[key]

    def parcels(self) -> dict[str, Callable[[], bytes]]:
        """What another machine may lack: the weights, where they are one file."""
        return {} if self.weights is None else {f"weights-{self.weights[1]}": self.weights[0].read_bytes}

    def _on_this_machine(self) -> Detector:
        """Of the weights that are here where they are the same, else of those that were sent."""
        here = weights_file(self.name)
        same = self.weights is None or (here is not None and here.is_file() and file_name(here) == self.weights[1])
        sent = None if same or self.weights is None else file_parcel(f"weights-{self.weights[1]}", WEIGHTS_SUFFIX)
        if sent is None:
            return _opened(self.name, self.device, self.root)
        kind, colon, _ = self.name.rpartition(":")
        made: Any = _opened(f"{kind}{colon}{sent}", self.device, self.root)
        return cast(Detector, replace(made, name=self.called)) if kind else cast(Detector, made)


def look_up(name: str, device: str, root: Path | None, *, calibration: Path | None = None) -> DetectorRef:
    """Open a detector as it is now and say what it is; with the thresholds of a file in place of those beside it.

    Raises:
        InputError: the name means nothing, or what it names cannot be opened, or the file holds no thresholds of it;
            says what to do.
    """
    code = _fresh_module(name)
    detector = _opened(name, device, root)
    content = fingerprint(detector, code)
    _keep((name, device, root, content), detector)
    with heard() as said:
        known = saved_calibration(detector) if calibration is None else loaded_calibration(calibration, detector)
    if calibration is not None and known is not None and known.detector != detector.name:
        raise InputError(
            f"expected thresholds of {detector.name!r} in {calibration}, got those of {known.detector!r}; "
            f"make them with robosac calibrate --detector {name} --out FILE"
        )
    file = weights_file(name)
    weights = None if file is None else (file, file_name(file))
    region = plain(region_of(detector))
    return DetectorRef(name, device, root, content, known, detector.name, region, tuple(said), weights)


def weights_file(name: str) -> Path | None:
    """The one file that a detector's weights are: of a shipped one, of FILE.safetensors, and of `late:` and `early:` of
    these; None of others.
    """
    from robosac import detectors

    kind, colon, rest = name.partition(":")
    single = rest if colon and kind in ("late", "early") else name
    if single in detectors.SHIPPED:
        return detectors.WEIGHTS / f"{single}{WEIGHTS_SUFFIX}"
    return Path(single) if single.endswith(WEIGHTS_SUFFIX) else None


def _opened(name: str, device: str, root: Path | None) -> Detector:
    from robosac.detectors.device import device_of_process

    return open_detector(name, device=device_of_process(device), root=root)


def _keep(key: tuple[str, str, Path | None, str], detector: Detector) -> None:
    _open.pop(key, None)
    while len(_open) >= _KEPT:
        del _open[next(iter(_open))]
    _open[key] = detector


# ------------------------------------------------------------------------------------------------------ own code
_loaded: dict[str, str] = {}  # module -> fingerprint of the sources that it was loaded from


def _fresh_module(name: str) -> str | None:
    """Of MODULE:NAME the fingerprint of its sources; where they changed meanwhile, they are loaded again."""
    module, colon, _ = name.partition(":")
    if not colon or module in ("late", "early", "opencood", "coperception") or name.endswith(".safetensors"):
        return None
    sources = code_files(module)
    if not sources:
        return None  # opening it says what is wrong
    content = fingerprint([[path.name, path] for path in sources])
    if _loaded.get(module, content) != content:
        for path in sources:
            Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)  # it knows seconds, not content
        for known in [n for n, m in sys.modules.items() if Path(getattr(m, "__file__", None) or "-") in sources]:
            del sys.modules[known]
        importlib.invalidate_caches()
    _loaded[module] = content
    return content


# ------------------------------------------------------------------------------------------- attackers' detectors
@dataclass(frozen=True)
class Opener:
    """Opens detectors of the attackers' own, those that were looked up."""

    known: tuple[DetectorRef, ...]

    def __call__(self, name: str) -> Detector:
        """Raises:
        InputError: nobody looked it up, so nothing is known about its content.
        """
        for ref in self.known:
            if ref.name == name:
                return ref.open()
        raise InputError(f"expected one of the attack's own detectors {[r.name for r in self.known]}, got {name!r}")


def sources_of(attack: Any) -> Iterator[str]:
    """Names of the detectors that an attack brings along, those of attacks inside it included."""
    from robosac.attacks.wrappers.transfer import Transfer

    if isinstance(attack, Transfer):
        yield attack.source
    if is_dataclass(attack):
        for f in fields(attack):
            yield from sources_of(getattr(attack, f.name))
