"""Record and replay: a model's own `forward` runs, while calls inside it are watched, answered or skipped.

A collaborative model encodes each agent, then fuses. What it computed for one agent at some inner call (a *tap*) can be
recorded once and given back at that same call later, for any subset of agents; everything after the tap is still the
model's own code. A call is named by its site, `path.to.module` for a module's forward or `path:method` for a method (an
empty path is the model itself), and by its number, counting from 0, among the calls of that site in one forward.

Patches are attributes of the instances, never of their classes, and are removed on every way out. While they are in
place the model belongs to the one thread that placed them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from torch import Tensor, nn

from robosac.types import InputError

T = TypeVar("T")
Call: TypeAlias = tuple[str, int | None]  # site and number; None: every call of the site that has no entry of its own
Act: TypeAlias = Callable[..., Any]  # act(original, *args, **kwargs) -> what the caller gets instead
_ABSENT: Final = object()


class _Complete(BaseException):
    """Ends a forward whose taps are all recorded. Not an `Exception`, so that no model's own handler swallows it."""


@dataclass(frozen=True)
class Tap:
    """A value inside a forward that belongs to one agent a row.

    Attributes:
        name: names it in what is recorded and replayed.
        site: whose output it is.
        recorded: number of the call in an ordinary forward.
        replayed: number of the call in a forward that is being replayed, where skipped sites make no calls.
        pick: None: the output itself; an int: that item of a tuple; a str: that key of a mapping, which the site
            returns as its first argument with the key added.
    """

    name: str
    site: str
    recorded: int = 0
    replayed: int = 0
    pick: int | str | None = None


def resolve(model: nn.Module, site: str) -> tuple[object, str]:
    """The object and the name of the attribute that a site means.

    Raises:
        InputError: if the model has no such module or method.
    """
    path, _, method = site.partition(":")
    name = method or "forward"
    try:
        owner = model.get_submodule(path)
    except AttributeError as error:
        raise InputError(f"expected {type(model).__name__} to have the module {path!r}, got none ({error})") from None
    if not callable(getattr(owner, name, None)):
        raise InputError(f"expected {type(owner).__name__} at {path!r} to have the method {name!r}, got none")
    return owner, name


@contextmanager
def intercepted(model: nn.Module, acts: Mapping[Call, Act]) -> Iterator[None]:
    """While inside, the calls named in `acts` go to their act; calls are counted anew from 0.

    Raises:
        InputError: if a site does not exist; the model is then left as it was.
    """
    by_site: dict[str, dict[int | None, Act]] = {}
    for (site, number), act in acts.items():
        by_site.setdefault(site, {})[number] = act
    targets = [(*resolve(model, site), table) for site, table in by_site.items()]
    undo: list[tuple[object, str, Any]] = []
    try:
        for owner, name, table in targets:
            undo.append((owner, name, vars(owner).get(name, _ABSENT)))
            object.__setattr__(owner, name, _dispatcher(getattr(owner, name), table))
        yield
    finally:
        for owner, name, before in reversed(undo):
            if before is _ABSENT:
                vars(owner).pop(name, None)
            else:
                object.__setattr__(owner, name, before)


def _dispatcher(original: Callable[..., Any], table: Mapping[int | None, Act]) -> Callable[..., Any]:
    count = -1

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        act = table.get(count, table.get(None))
        return original(*args, **kwargs) if act is None else act(original, *args, **kwargs)

    return call


def record(
    model: nn.Module,
    taps: Sequence[Tap],
    forward: Callable[[], T],
    *,
    acts: Mapping[Call, Act] | None = None,
    replaying: bool = False,
) -> dict[str, Tensor]:
    """Run `forward` until every tap has been seen, and no further. Returns name -> value.

    Args:
        acts: what else is done at other calls; a call that is both a tap and an act is acted on, then recorded.
        replaying: count calls as in a replay.

    Raises:
        InputError: if the forward ends without reaching a tap.
    """
    taken: dict[str, Tensor] = {}
    groups = _by_call(taps, replaying=replaying)
    given = dict(acts or {})

    def watcher(group: Sequence[Tap], inner: Act | None) -> Act:
        def watch(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs) if inner is None else inner(original, *args, **kwargs)
            for tap in group:
                taken[tap.name] = output if tap.pick is None else output[tap.pick]
            if len(taken) == len(taps):
                raise _Complete
            return output

        return watch

    watching = {call: watcher(group, given.get(call, given.get((call[0], None)))) for call, group in groups.items()}
    with intercepted(model, {**given, **watching}):
        try:
            if taps:
                forward()
        except _Complete:
            pass
    missing = [tap.name for tap in taps if tap.name not in taken]
    if missing:
        raise InputError(
            f"expected the forward of {type(model).__name__} to reach the taps {missing}, it did not; "
            "its specification does not describe this version of the model"
        )
    return taken


def giving(taps: Sequence[Tap], values: Mapping[str, Any]) -> dict[Call, Act]:
    """Acts that answer the taps' calls, as counted in a replay, with `values` (name -> value) and call nothing."""
    return {call: _giver(group, values) for call, group in _by_call(taps, replaying=True).items()}


def _giver(group: Sequence[Tap], values: Mapping[str, Any]) -> Act:
    first = group[0]
    if first.pick is None:
        return lambda original, *args, **kwargs: values[first.name]
    if isinstance(first.pick, int):
        items = tuple(values[tap.name] for tap in sorted(group, key=lambda tap: int(tap.pick or 0)))
        return lambda original, *args, **kwargs: items
    return lambda original, mapping, *args, **kwargs: {**mapping, **{tap.pick: values[tap.name] for tap in group}}


def replacing(taps: Sequence[Tap], row: int, values: Mapping[str, Tensor]) -> dict[Call, Act]:
    """Acts that let the taps' calls of an ordinary forward happen, then put `values` in one agent's row."""

    def put(output: Tensor, name: str) -> Tensor:
        output = output.clone()
        output[row] = values[name]
        return output

    def replacer(group: Sequence[Tap]) -> Act:
        def replace(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            if group[0].pick is None:
                return put(output, group[0].name)
            if isinstance(group[0].pick, int):
                names = {tap.pick: tap.name for tap in group}
                return tuple(put(x, names[i]) if i in names else x for i, x in enumerate(output))
            return {**output, **{tap.pick: put(output[tap.pick], tap.name) for tap in group}}

        return replace

    return {call: replacer(group) for call, group in _by_call(taps, replaying=False).items()}


def chained(*tables: Mapping[Call, Act]) -> dict[Call, Act]:
    """One table of acts from several. Where two name the same call the later one's `original` is the earlier act."""
    result: dict[Call, Act] = {}
    for table in tables:
        for call, act in table.items():
            result[call] = _after(result[call], act) if call in result else act
    return result


def _after(inner: Act, outer: Act) -> Act:
    return lambda original, *args, **kwargs: outer(functools.partial(inner, original), *args, **kwargs)


def _by_call(taps: Sequence[Tap], *, replaying: bool) -> dict[Call, list[Tap]]:
    groups: dict[Call, list[Tap]] = {}
    for tap in taps:
        groups.setdefault((tap.site, tap.replayed if replaying else tap.recorded), []).append(tap)
    return groups


def first_argument(original: Callable[..., Any], first: Any, *args: Any, **kwargs: Any) -> Any:
    """An act that skips the call: its first argument comes back as it is."""
    return first


def filling(key: str, value: Any) -> Act:
    """An act that skips the call: its first argument, a mapping, comes back with `key` set to `value`."""
    return lambda original, mapping, *args, **kwargs: {**mapping, key: value}
