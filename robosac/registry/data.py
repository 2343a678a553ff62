"""Data sets by name.

    sim:PRESET      scenes of the built-in simulation
    simulated       the same as sim:mixed
    opv2v:PATH      OPV2V, V2XSet and what is laid out like them
    v2xsim:PATH     V2X-Sim, parsed (npy) or by CoAlign (pkl)
    dair:PATH       DAIR-V2X-C
    data:PATH       any of these, by what the path holds; so is PATH alone, where it exists

`~` in a path is the user's home.

Another layout is a reader in `robosac.data` and a line that recognises it in `robosac.data.layout`; with a line in
`LAYOUTS` it has a kind of its own besides `data:PATH`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from robosac.errors import did_you_mean
from robosac.types import InputError

if TYPE_CHECKING:
    from robosac.data.recording import Recording

SIMULATED: Final = "sim"
USUAL: Final = "simulated"  # the preset mixed, by another name
LAYOUTS: Final[Mapping[str, tuple[str, ...]]] = {  # kind -> layouts of recordings; `data` takes all
    "opv2v": ("opv2v",),
    "v2xsim": ("v2xsim-npy", "v2xsim-pkl"),
    "dair": ("dair-v2x-c",),
    "data": (),
}
KINDS: Final = (f"{SIMULATED}:PRESET", *(f"{kind}:PATH" for kind in LAYOUTS))


def split_name(name: str) -> tuple[str, str]:
    """Kind and preset or path of a data set's name. InputError where it is none."""
    found = kind_and_rest(name)
    if found is None and name.startswith("bag:"):
        raise InputError(
            f"expected a data set with truth, like {', '.join(KINDS)}; got {name}, whose frames have none; "
            "robosac run, calibrate and check-detector take it"
        )
    if found is None:
        from robosac.simulation.config import PRESETS

        likely = [USUAL, *(f"{SIMULATED}:{preset}" for preset in PRESETS)]
        close = did_you_mean(f"{SIMULATED}:{name}", likely) if name in PRESETS else did_you_mean(name, likely)
        raise InputError(f"expected a data set like {', '.join(KINDS)}; got {name!r}{close}")
    return found


def kind_and_rest(name: str) -> tuple[str, str] | None:
    """As `split_name`; None where the name is none of a data set."""
    if name == USUAL:
        return SIMULATED, "mixed"
    kind, _, rest = name.partition(":")
    if kind == SIMULATED and rest:
        return kind, rest
    if kind in LAYOUTS and rest:
        return kind, str(Path(rest).expanduser())
    alone = Path(name).expanduser()
    return ("data", str(alone)) if name and alone.exists() else None


def is_simulated(name: str) -> bool:
    """Whether a data set is simulated; a recorded one otherwise. InputError where the name is none."""
    return split_name(name)[0] == SIMULATED


def open_recording(name: str, classes: Collection[str] | None = None) -> Recording:
    """The recording of a data set's name; `classes` of the objects that count, vehicles unless given.

    Raises:
        InputError: the path holds no data set, or one of another kind; says what to do.
    """
    from robosac.data.layout import recognise

    kind, path = split_name(name)
    recording = recognise(Path(path), classes)
    if LAYOUTS[kind] and recording.layout not in LAYOUTS[kind]:
        raise InputError(
            f"expected {path} to hold a data set of kind {kind}, it holds one of layout {recording.layout}; "
            f"name it data:{path}"
        )
    return recording
