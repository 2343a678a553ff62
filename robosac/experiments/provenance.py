"""What a result was made with: versions, the source itself, the machine, and what to type to get it again."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from robosac import __version__

PACKAGES: Final = ("numpy", "scipy", "torch", "embreex")
_SHOW_ONLY: Final = ("cli", "commands", "viz")  # of the source, what decides no figure


def versions() -> dict[str, str]:
    """Of everything that figures depend on; `source` names the project's own code as it is on disk."""
    found = {"robosac": __version__, "source": _source(), "python": platform.python_version()}
    return found | {package: version(package) for package in PACKAGES}


def environment(jobs: int, threads: int) -> dict[str, Any]:
    """Versions and hardware, as far as figures depend on them. `vectors` are the processor's instructions, like AVX2:
    with others sums are rounded in another order.
    """
    import torch  # loads what a command that computes has loaded already

    vectors = torch.backends.cpu.get_cpu_capability()
    return {
        "versions": versions(),
        "machine": platform.machine(),
        "vectors": vectors,
        "jobs": jobs,
        "threads": threads,
    }


def command_line(*words: str | Path, **options: Any) -> str:
    """What to type: the words, then each option that is not None."""
    named = [(f"--{k.replace('_', '-')}", str(v)) for k, v in options.items() if v is not None]
    return " ".join([*map(str, words), *(f"{k} {shlex.quote(v)}" for k, v in named)])


@lru_cache(maxsize=1)
def _source() -> str:
    """10 hexadecimal digits of the package's modules, presets and networks of streets, once a process."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for folder, inside, names in os.walk(root, followlinks=True):
        inside[:] = sorted(name for name in inside if not (Path(folder) == root and name in _SHOW_ONLY))
        for name in sorted(n for n in names if n.endswith((".py", ".yaml", ".net.xml"))):
            digest.update(f"{Path(folder).relative_to(root)}/{name}\n".encode() + (Path(folder) / name).read_bytes())
    return digest.hexdigest()[:10]
