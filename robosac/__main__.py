"""`robosac` and `python -m robosac`. Ctrl-C, while it still loads too, is one line and exit code 130."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from types import TracebackType
from typing import Any, Final

STOPPED: Final = 130
_AGAIN_S: Final = 0.2


class _LostCtrlC:
    """While entered, a Ctrl-C that Python drops comes again.

    It is dropped where it meets a function that compiled code calls and that cannot raise, as in numba's compiler:
    Python prints "Exception ignored" and goes on, or the compiled code fails with an error of its own.
    """

    def __init__(self) -> None:
        self._again: threading.Timer | None = None

    def __enter__(self) -> _LostCtrlC:
        self._before, sys.unraisablehook = sys.unraisablehook, self._hook
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        sys.unraisablehook = self._before
        if self._again is None:
            return
        self._again.cancel()
        if isinstance(error, Exception):  # what became of it
            raise KeyboardInterrupt from error

    def _hook(self, dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            self._before(dropped)
            return
        self._again = threading.Timer(_AGAIN_S, _thread.interrupt_main)
        self._again.daemon = True
        self._again.start()


def main() -> None:
    """The command line."""
    try:
        with _LostCtrlC():
            from robosac.cli import main as run

            run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already; a second one would only make noise
        print("robosac: stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except SystemExit as end:
        if end.code == STOPPED:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


if __name__ == "__main__":
    main()
