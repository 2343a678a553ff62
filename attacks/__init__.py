"""Attacks on a collaborative detector. An attack is a value: settings, `repr`, equality; `load` makes one by name.

Every class registered in this package can be imported from here: `from robosac.attacks import Pgd`.
"""

from typing import Any

from robosac.attacks.presets import load, names

__all__ = ["load", "names"]


def __getattr__(name: str) -> Any:  # modules of attacks open torch: only when one is asked for
    from robosac.attacks.registry import kinds

    if not name.startswith("_"):
        for kind in kinds().values():
            if kind.__name__ == name:
                return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from robosac.attacks.registry import kinds

    return sorted({*__all__, *(kind.__name__ for kind in kinds().values())})
