"""What a detector is trained on, by a data set's name: scenes to train on, to choose weights on, and to report.

Scenarios are kept whole: frames of one drive look alike, and weights chosen on frames of the drive that they were
trained on would be chosen on what they know by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robosac.executors import make_executor
from robosac.fingerprint import file_fingerprint, fingerprint
from robosac.registry.data import LAYOUTS, open_recording
from robosac.types import BevGrid, InputError, keyed_rng

if TYPE_CHECKING:
    from robosac.data.recording import Recording
    from robosac.detectors.bev.training.dataset import CachedFrame

    Scenes = list[list[CachedFrame]]

Log = Callable[[str], None]
CACHE: Final = Path("runs/cache")
_SHARE: Final = 5  # one scenario of so many, or one tick, is for validation


@dataclass(frozen=True)
class Piece:
    """A scenario, or its ticks from one position to before another; of another data set where one is named."""

    scenario: str
    start: int = 0
    stop: int | None = None
    data: str | None = None

    def __str__(self) -> str:
        until = "" if self.stop is None else str(self.stop - 1)
        ticks = "" if not self.start and self.stop is None else f"[{self.start}..{until}]"
        return " ".join(filter(None, (self.data, f"{self.scenario}{ticks}")))


@dataclass(frozen=True)
class Parts:
    """What of a recording is trained on, validated on and reported on."""

    train: tuple[Piece, ...]
    validation: tuple[Piece, ...]
    test: tuple[Piece, ...]

    def __str__(self) -> str:
        named = {"train on": self.train, "validate on": self.validation, "report on": self.test}
        return "; ".join(f"{what} {', '.join(map(str, pieces))}" for what, pieces in named.items() if pieces)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Frames by scene, and what they are, as plain text."""

    train: Scenes
    validation: Scenes
    test: Scenes
    content: str


def divide(
    scenarios: Sequence[str],
    ticks: Callable[[str], int],
    *,
    val: Sequence[str],
    test: Sequence[str],
    seed: int,
    elsewhere: bool = False,
) -> Parts:
    """Which scenarios are for what.

    Args:
        scenarios: names of all.
        ticks: number of ticks of one.
        val, test: names asked for. Where `val` is empty, one of five of the others is for validation, drawn by `seed`;
            of a single one the last fifth of its ticks.
        elsewhere: validation has scenarios of its own, so that none are taken for it.

    Raises:
        InputError: a name is not among them or stands twice, or too little is left.
    """
    for name in (*val, *test):
        if name not in scenarios:
            raise InputError(f"expected scenarios among {', '.join(scenarios)}, got {name!r}")
    if twice := sorted({*val} & {*test}):
        raise InputError(f"expected a scenario under one of --val and --test, got {twice[0]!r} under both")
    rest = [s for s in scenarios if s not in val and s not in test]
    if not rest:
        raise InputError(f"expected a scenario to train on beside those for --val and --test, got none of {scenarios}")
    reported = tuple(Piece(s) for s in test)
    if val or elsewhere:
        return Parts(tuple(Piece(s) for s in rest), tuple(Piece(s) for s in val), reported)
    if len(rest) == 1:
        n = ticks(rest[0])
        if n < 2:
            raise InputError(f"expected two ticks or more to train and validate on, got {n} in {rest[0]}")
        cut = n - max(n // _SHARE, 1)
        return Parts((Piece(rest[0], 0, cut),), (Piece(rest[0], cut),), reported)
    order = [rest[int(i)] for i in keyed_rng(seed, "train", "split").permutation(len(rest))]
    chosen = set(order[: max(len(rest) // _SHARE, 1)])
    kept = tuple(Piece(s) for s in rest if s not in chosen)
    return Parts(kept, tuple(Piece(s) for s in rest if s in chosen), reported)


def recorded_set(
    name: str,
    grid: BevGrid,
    *,
    comm_range_m: float,
    val: Sequence[str] = (),
    test: Sequence[str] = (),
    seed: int = 0,
    jobs: int | None = None,
    cache: Path = CACHE,
    log: Log = print,
) -> TrainingSet:
    """The frames of a recording, every agent in turn the ego, rasterised on `grid` and kept in `cache`.

    Args:
        val, test: scenarios of it, or names of other recordings, all of whose scenarios are meant.

    Raises:
        InputError: the name is none of a recording, or it holds too little; says what to do.
    """
    from robosac.detectors.bev.training.dataset import load_scene
    from robosac.detectors.bev.training.recorded import cache_key

    recordings: dict[str | None, Recording] = {None: open_recording(name)}
    recordings |= {other: open_recording(other) for other in _others((*val, *test))}
    parts = _parts(recordings, val, test, seed)
    log(f"{name}: {parts}")
    every = (*parts.train, *parts.validation, *parts.test)
    inside = {piece: _folder_of(recordings[piece.data].root, piece) for piece in every}
    trained = {(inside[piece].resolve(), piece.scenario) for piece in parts.train}
    for piece in (*parts.validation, *parts.test):
        if piece.data is not None and (inside[piece].resolve(), piece.scenario) in trained:  # by another name
            raise InputError(f"expected other scenarios under --val and --test than are trained on, got {piece}")
    content = {folder: file_fingerprint(folder) for folder in set(inside.values())}  # scenarios may share one
    readers = reader_sources()
    keys = {piece: cache_key([content[inside[piece]], str(piece), comm_range_m], grid, readers) for piece in every}
    places = {piece: cache / "recorded" / f"{key}.npz" for piece, key in keys.items()}
    work = [(name, piece, grid, comm_range_m, place) for piece, place in places.items() if not place.exists()]
    for done, _ in enumerate(make_executor(jobs).run(_read, work), start=1):
        log(f"read {done} of {len(work)} scenarios")
    train, validation, tested = (
        [load_scene(places[p]) for p in some] for some in (parts.train, parts.validation, parts.test)
    )
    for what, scenes in (("train", train), ("validate", validation)):
        if not any(scenes):
            raise InputError(f"expected frames to {what} on in {name}, got none; look at it with robosac data inspect")
    return TrainingSet(train, validation, tested, f"{name} {parts} {fingerprint(*(p.stem for p in places.values()))}")


def _others(names: Sequence[str]) -> list[str]:
    """Those that name a recording of their own, like opv2v:PATH, and no scenario."""
    return [n for n in dict.fromkeys(names) if n.partition(":")[0] in LAYOUTS and n.partition(":")[2]]


def _parts(recordings: Mapping[str | None, Recording], val: Sequence[str], test: Sequence[str], seed: int) -> Parts:
    """Which scenarios are for what: as `divide`, with all those of the other recordings that `val` and `test` name."""
    own = recordings[None]

    def split(names: Sequence[str]) -> tuple[list[str], tuple[Piece, ...]]:
        others = _others(names)
        pieces = tuple(Piece(s, data=other) for other in others for s in recordings[other].scenarios())
        return [n for n in names if n not in others], pieces

    (val_names, validation), (test_names, tested) = split(val), split(test)
    if twice := sorted({*map(str, validation)} & {*map(str, tested)}):
        raise InputError(f"expected a scenario under one of --val and --test, got {twice[0]!r} under both")
    named = {"val": val_names, "test": test_names}
    found = divide(list(own.scenarios()), lambda s: len(own.ticks(s)), **named, seed=seed, elsewhere=bool(validation))
    return Parts(found.train, (*found.validation, *validation), (*found.test, *tested))


def reader_sources() -> tuple[Path, ...]:
    """The files that decide what is read from a recording: the readers, and what of this package they compute with."""
    import robosac.data

    home = Path(robosac.data.__file__).parent
    below = (
        home.parent / f"{name}.py"
        for name in ("arrays", "bev_grid", "box_kernels", "boxes", "pcd", "plain_yaml", "types")
    )
    return (*sorted(home.glob("*.py")), *below, Path(__file__))


def _folder_of(root: Path, piece: Piece) -> Path:
    """The folder that a scenario's frames are in: its own, or that of the whole recording."""
    inside = root / piece.scenario
    return inside if inside.is_dir() else root


def _read(job: tuple[str, Piece, BevGrid, float, Path]) -> None:
    from robosac.data.dataset import EACH, DataSet
    from robosac.detectors.bev.training.dataset import save_scene
    from robosac.detectors.bev.training.recorded import cache_recorded

    name, piece, grid, comm_range_m, place = job
    data = DataSet(
        open_recording(piece.data or name),
        scenarios=(piece.scenario,),
        start=piece.start,
        stop=piece.stop,
        ego=EACH,
        comm_range_m=comm_range_m,
    )
    save_scene(place, [cache_recorded(frame, truth, grid) for frame, truth in data])
