"""OpenCOOD's folder of a trained model, `config.yaml` and a checkpoint, loaded with the user's own OpenCOOD.

Upstream loads weights with `strict=False`, so that a checkpoint of another model goes unnoticed and detects nothing.
Here every tensor must fit, and what does not is named. Weights are read as data (`weights_only=True`).
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.hypes import load_hypes
from robosac.detectors.checkpoints import calibration_named, load_all, parameters, read_plain
from robosac.detectors.device import usable_device
from robosac.types import InputError

CALIBRATION: Final = "robosac.calibration.json"  # thresholds of the weights that a folder stands for
OF_OTHERS: Final = ".calibration.json"  # after the name of other weights in it
CUDA_ONLY: Final = {  # core_method -> what in the model's own code asks for it
    "voxel_net": "its forward pass allocates with .cuda()",
    "voxel_net_intermediate": "its forward pass allocates with .cuda()",
    "fpvrcnn": "it calls OpenCOOD's CUDA extensions",
    "point_pillar_intermediate_V2VAM": "its fusion allocates with .cuda()",
}


@dataclass(frozen=True, eq=False)
class Loaded:
    """A trained OpenCOOD model.

    Attributes:
        model: in evaluation mode, on its device.
        hypes: the configuration, with what OpenCOOD derives from it.
        folder: where the configuration lies.
        checkpoint: the file the weights came from.
        usual: whether these weights are the ones that OpenCOOD would take.
        legacy: whether this OpenCOOD is that of mid-2022 (`opencoodx`), which fuses and filters boxes a little
            differently from the current one.
    """

    model: torch.nn.Module
    hypes: dict[str, Any]
    folder: Path
    checkpoint: Path
    usual: bool
    legacy: bool


def load_folder(
    folder: Path | str, *, root: Path | str | None = None, checkpoint: Path | str | None = None, device: str = "cpu"
) -> Loaded:
    """The model that OpenCOOD's training left in `folder`.

    Args:
        folder: that folder, or a checkpoint in it.
        root: a checkout of OpenCOOD to use instead of the installed one.
        checkpoint: the weights, a path or a file's name in `folder`; by default those that OpenCOOD would take
            (`find_checkpoint`).

    Raises:
        InputError: if something is missing, or the weights are those of another model.
    """
    folder = Path(folder).expanduser()
    if checkpoint is None and folder.is_file():
        folder, checkpoint = folder.parent, folder
    if not folder.is_dir():
        raise InputError(
            f"expected the folder of a trained OpenCOOD model or a checkpoint in one, got {folder}, which is no folder"
        )
    place = usable_device(device)
    hypes = load_hypes(folder / "config.yaml", root)
    check_runs_on(str(_core_method(hypes)), place)
    weights = find_checkpoint(folder) if checkpoint is None else _named_checkpoint(folder, Path(checkpoint))
    usual = checkpoint is None or weights.resolve() in {path.resolve() for path in _checkpoints(folder)[:1]}
    model = build_model(hypes, root=root)
    load_weights(model, weights)
    return Loaded(model.to(place).eval(), hypes, folder, weights, usual, is_legacy())


def is_legacy() -> bool:
    """Whether the imported OpenCOOD is of mid-2022, before V2X-ViT, Where2comm and CoAlign."""
    with bridges.bridged():
        return all(
            importlib.util.find_spec(f"opencood.models.{name}") is None
            for name in ("point_pillar_transformer", "point_pillar_where2comm")
        )


# ---------------------------------------------------------------------------------------------------- the model
def build_model(hypes: Mapping[str, Any], *, root: Path | str | None = None) -> torch.nn.Module:
    """OpenCOOD's model of a configuration (`load_hypes`), random weights, on the CPU, in training mode as built.

    Raises:
        InputError: if this OpenCOOD has no such model, or the configuration does not fit it.
    """
    method = _core_method(hypes)
    module = bridges.import_module(f"opencood.models.{method}", root)
    wanted = method.replace("_", "").lower()  # OpenCOOD's rule: point_pillar_v2vnet -> PointPillarV2VNet
    models = {n: c for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, torch.nn.Module)}
    found: Callable[[Any], torch.nn.Module] | None = next((c for n, c in models.items() if n.lower() == wanted), None)
    if found is None:
        raise InputError(
            f"expected a class named like {method} in {module.__name__}, got {', '.join(sorted(models)) or 'none'}"
        )
    arguments = copy.deepcopy(hypes["model"].get("args"))
    with bridges.bridged(root), contextlib.redirect_stdout(sys.stderr):  # HEAL's models print what they are made of
        try:
            try:
                return found(arguments)
            except ZeroDivisionError:
                # CoAlign's model takes the mere presence of `compression` for a request and divides by its 0,
                # although OpenCOOD's own configuration says `compression: 0`, no compression
                if not isinstance(arguments, dict) or arguments.get("compression") != 0:
                    raise
                return found({k: v for k, v in copy.deepcopy(hypes["model"]["args"]).items() if k != "compression"})
        except ImportError as error:
            raise InputError(f"{method} cannot be built: {error}; {bridges.remedy(error)}") from error
        except InputError:
            raise
        except (AssertionError, RuntimeError) as error:
            if torch.cuda.is_available() or not any(word in str(error) for word in ("CUDA", "NVIDIA")):
                raise
            raise InputError(
                f"expected a machine with CUDA for {method} of this configuration: {error}; HEAL builds its camera "
                "encoders there (lift_splat_shoot); leave the modalities with cameras out of model.args and heter"
            ) from error
        except (AttributeError, KeyError, TypeError, IndexError, ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"expected model.args that {method} takes, got {type(error).__name__}: {error}; "
                "is the configuration of another version of OpenCOOD?"
            ) from error


def _core_method(hypes: Mapping[str, Any]) -> str:
    model = hypes.get("model")
    method = model.get("core_method") if isinstance(model, Mapping) else None
    if not isinstance(method, str) or not method.isidentifier():
        raise InputError(f"expected model.core_method to name a module of opencood.models, got {method!r}")
    return method


def check_runs_on(method: str, device: torch.device) -> None:
    """Raises `InputError` for a model that OpenCOOD wrote for CUDA only, elsewhere."""
    if device.type != "cuda" and method in CUDA_ONLY:
        raise InputError(
            f"expected a CUDA device for {method}, got {device.type}: {CUDA_ONLY[method]}; use device=cuda"
        )


# ---------------------------------------------------------------------------------------------------- weights
def find_checkpoint(folder: Path) -> Path:
    """The weights that OpenCOOD would take.

    `net_epoch_bestval_atN.pth` (which CoAlign writes), else `latest.pth`, else `net_epochN.pth` of the highest N.
    """
    found = _checkpoints(folder)
    if not found:
        raise InputError(
            f"expected latest.pth, net_epochN.pth or net_epoch_bestval_atN.pth in {folder}, found none; "
            "name the weights: opencood:FOLDER@FILE, or checkpoint=PATH"
        )
    return found[0]


def _checkpoints(folder: Path) -> list[Path]:
    """Those of a folder, the one that OpenCOOD would take first."""
    found: list[Path] = []
    for pattern in (r"net_epoch_bestval_at(\d+)\.pth", r"(latest)\.pth", r"net_epoch(\d+)\.pth"):
        matches = [(m[1], p) for p in sorted(folder.iterdir()) if (m := re.fullmatch(pattern, p.name))]
        found += [p for _, p in sorted(matches, key=lambda m: -int(m[0]) if m[0].isdigit() else 0)]
    return found


def thresholds_of(given: str | Path | None) -> Path | None:
    """The file of the thresholds of agreement of a model folder or of a checkpoint in one; a file is itself.

    Raises:
        InputError: there is nothing of that name.
    """
    path = None if given is None else Path(given).expanduser()
    if path is None or path.suffix != ".pth" or not path.is_file():
        return calibration_named(given, CALIBRATION)
    usual = path.resolve() in {found.resolve() for found in _checkpoints(path.parent)[:1]}
    return path.parent / CALIBRATION if usual else path.with_suffix(OF_OTHERS)


def _named_checkpoint(folder: Path, path: Path) -> Path:
    for candidate in (path.expanduser(), folder / path):
        if candidate.is_file():
            return candidate
    raise InputError(f"expected a checkpoint at {path} or {folder / path}, found none")


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Puts a checkpoint's tensors into `model`, every one or none.

    Names that `DataParallel` has prefixed with `module.` are recognised.

    Raises:
        InputError: if the file is no checkpoint, or is one of another model; says how they differ.
    """
    held = read_plain(path, "OpenCOOD saves the names and tensors of a model")
    state = parameters(held, path, "names and tensors, as OpenCOOD saves them")
    load_all(model, state, path, "is it the checkpoint of another model, or of another configuration?")


# ---------------------------------------------------------------------------------------------------- the data
class BridgedDataset:
    """The user's OpenCOOD dataset, unchanged; only loading a sample happens inside of `bridged()`.

    Everything else (`collate_batch_test`, `post_process`, `pre_processor`) is the dataset's own. It suits a torch
    `DataLoader`, in its worker processes too.
    """

    def __init__(self, dataset: Any, root: Path | str | None) -> None:
        self.dataset, self.root = dataset, root

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with bridges.bridged(self.root):
            return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # being unpickled: not there yet
            raise AttributeError(name)
        return getattr(self.dataset, name)


def build_dataset(
    hypes: Mapping[str, Any], data_dir: Path | str, *, root: Path | str | None = None, train: bool = False
) -> BridgedDataset:
    """OpenCOOD's dataset of a configuration on the user's data, `data_dir/<scenario>/<agent>/<time>.{yaml,pcd}`.

    OpenCOOD reads the data's YAML files with a loader that may build Python objects: give it data you trust.

    Raises:
        InputError: if `data_dir` holds no such files, or the configuration does not fit OpenCOOD's dataset.
    """
    data_dir = Path(data_dir).expanduser()
    if next(data_dir.glob("*/*/*.yaml"), None) is None:
        raise InputError(
            f"expected data as OPV2V lays it out, <scenario>/<agent>/<time>.yaml and .pcd, under {data_dir}, found "
            "none; name the folder of a split (train, validate, test)"
        )
    params = copy.deepcopy(dict(hypes))
    params.update(dict.fromkeys(("root_dir", "validate_dir", "test_dir"), str(data_dir)))
    datasets = bridges.import_module("opencood.data_utils.datasets", root)
    with bridges.bridged(root):
        try:
            return BridgedDataset(datasets.build_dataset(params, visualize=False, train=train), root)
        except (KeyError, AssertionError) as error:
            raise InputError(
                f"expected a configuration for OpenCOOD's dataset, got {type(error).__name__}: {error}"
            ) from error
        except FileNotFoundError as error:
            raise InputError(
                f"expected the files that the configuration names, got {error}; CoAlign's box_align reads boxes of its "
                "first stage, HEAL's heter.assignment_path which agent is of which kind: their paths are relative to "
                "the current folder; without box_align poses stay as they are"
            ) from error
