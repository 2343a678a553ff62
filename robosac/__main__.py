"""`robosac` and `python -m robosac`. Ctrl-C, while it still loads too, is one line and exit code 130."""

from __future__ import annotations

import signal
import sys
from typing import Final

STOPPED: Final = 130


def main() -> None:
    """The command line."""
    try:
        from robosac.cli import main as run

        run()
    except KeyboardInterrupt:
        print("robosac: stopped", file=sys.stderr)
        sys.exit(STOPPED)
    except SystemExit as end:
        if end.code == STOPPED:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already; a second one would only make noise
        raise


if __name__ == "__main__":
    main()
