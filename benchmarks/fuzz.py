"""Mutated files against the readers of untrusted files: `python -m benchmarks.fuzz` and, coverage-guided, `--atheris`.

Every file is a mutation of a good one: bits flipped, bytes overwritten with telling values, pieces cut and doubled. A
reader may return a plain value or raise `DataError`; anything else is a finding. `--structure` edits content instead
(`benchmarks.fuzz_structure`), where a silent change of meaning is a finding too. Times are of the processor, whatever
else runs beside it. `--atheris SECONDS` needs the package atheris, which nothing else here does.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import sys
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from benchmarks.machine import Option, options
from robosac import pcd
from robosac.data import safe
from robosac.data.recording import DataError

_TELLING: Final = (
    b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80", b"-1", b"9999999999", b"nan", b"[", b"{",
    b"&a", b"*a",
)  # fmt: skip
_VALUE: Final = {
    "a": [1, 2.5, "x", None, True],
    "b": {"c": [[3.0, -4.0], {"d": "e"}]},
    "vehicles": {7: {"angle": [0, 90.0, 0]}},
}


def _pcd_seeds() -> list[bytes]:
    import struct

    import lzf

    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(0, 9, 20).astype("f4"), "i": rng.integers(0, 255, 20, dtype="u1"), "t": rng.random(20)}
    binary = pcd.encode(columns)
    head = binary[: binary.index(b"DATA binary\n")]
    raw = b"".join(c.tobytes() for c in columns.values())
    squeezed = lzf.compress(raw, 2 * len(raw))
    rows = "\n".join(f"{x!r} {i} {t!r}" for x, i, t in zip(*(c.tolist() for c in columns.values()), strict=True))
    packed = head + b"DATA binary_compressed\n" + struct.pack("<II", len(squeezed), len(raw)) + squeezed
    return [binary, packed, head + b"DATA ascii\n" + rows.encode() + b"\n"]


def _npy_seeds() -> list[bytes]:
    def saved(value: Any) -> bytes:
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=True)
        return stream.getvalue()

    return [saved(np.arange(12.0).reshape(3, 4)), saved({"a": np.arange(3), "b": 2}), saved(0)]


def _pickle_seeds() -> list[bytes]:
    value = [{"pose": np.eye(4), "ids": np.array(["a", "bc"]), "n": np.float32(2), "t": (1, b"x")}] * 2
    objects = np.array([OrderedDict(a={1, "b"}, c=frozenset([2.5])), value], dtype=object)
    return [pickle.dumps(v, protocol) for protocol in (0, 2, 4, 5) for v in (value, objects)]


SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "pcd": cache(_pcd_seeds),
    "yaml": cache(
        lambda: [yaml.safe_dump(_VALUE).encode(), b"a: &a [1, 2]\nb: [*a, *a]\nc: {d: 2020-01-01, e: 0x1f}\n"]
    ),
    "json": cache(lambda: [json.dumps(_VALUE).encode(), json.dumps([_VALUE] * 3, indent=1).encode()]),
    "npy": cache(_npy_seeds),
    "pkl": cache(_pickle_seeds),
}
_READERS: Final[dict[str, Callable[[Path, Path], Any]]] = {
    "pcd": safe.read_pcd,
    "yaml": safe.read_yaml,
    "json": safe.read_json,
    "npy": safe.read_npy,
    "pkl": safe.read_pickle,
}


def read(kind: str, data: bytes, folder: Path) -> Any:
    """What the reader of a kind of file makes of `data`; DataError, or a finding."""
    path = folder / f"fuzz.{kind}"
    path.write_bytes(data)
    return _READERS[kind](path, folder)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` after one to eight random changes, mostly few."""
    out = bytearray(data)
    for _ in range(min(int(rng.geometric(0.5)), 8)):
        at, to = sorted(int(i) for i in rng.integers(0, len(out) + 1, 2))
        piece = bytes(out[at : min(to, at + 64)])
        what = int(rng.integers(7))
        if what == 0 and at < len(out):
            out[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            telling = _TELLING[int(rng.integers(len(_TELLING)))]
            out[at : at + len(telling)] = telling
        elif what == 2:
            out[at:at] = _TELLING[int(rng.integers(len(_TELLING)))]
        elif what == 3:
            del out[at : at + len(piece)]
        elif what == 4:
            out[at:at] = piece * int(rng.integers(1, 4))
        elif what == 5 and at < len(out):
            out[at] = int(rng.integers(256))
        elif what == 6:
            del out[max(at, 1) :]
        if not out:
            out = bytearray(b"\0")
    return bytes(out)


def campaign(files: int, seed: int) -> dict[str, Any]:
    """Counts of what came back, the slowest file and the process's peak memory."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    slowest = (0.0, "")
    kinds = sorted(SEEDS)
    with tempfile.TemporaryDirectory() as name:
        for n in range(files):
            kind = kinds[n % len(kinds)]
            seeds = SEEDS[kind]()
            data = mutated(seeds[int(rng.integers(len(seeds)))], rng)
            start = time.process_time()
            try:
                read(kind, data, Path(name))
                outcomes[f"{kind}: read"] += 1
            except DataError:
                outcomes[f"{kind}: refused"] += 1
            except Exception as error:
                findings.append(f"{kind} {type(error).__name__}: {error} <- {data[:200]!r}")
            slowest = max(slowest, (time.process_time() - start, kind))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "files": files,
        "outcomes": dict(sorted(outcomes.items())),
        "findings": findings,
        "slowest_s": slowest,
        "peak_mib": peak,
    }


def coverage_guided(seconds: int) -> None:
    """libFuzzer's mutations, led by coverage; the first byte chooses the kind. Stops at a finding."""
    import atheris

    kinds = sorted(SEEDS)
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as scratch:
        for n, kind in enumerate(kinds):
            for k, data in enumerate(SEEDS[kind]()):
                (Path(corpus) / f"{kind}{k}").write_bytes(bytes([n]) + data)

        def one(data: bytes) -> None:
            if data:
                with suppress(DataError):
                    read(kinds[data[0] % len(kinds)], data[1:], Path(scratch))

        atheris.instrument_all()
        limits = [
            f"-max_total_time={seconds}",
            "-timeout=5",
            "-rss_limit_mb=1024",
            "-max_len=4096",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *limits, corpus], one)
        atheris.Fuzz()


def main() -> None:
    atheris = Option(None, "coverage-guided instead, for so many seconds", kind=int)
    structure = Option(False, "edits of content in place of bytes")
    arguments = options(__doc__, files=100_000, seed=0, atheris=atheris, structure=structure)
    if arguments.structure:
        from benchmarks.fuzz_structure import campaign as of_structure

        edits = of_structure(arguments.files, arguments.seed)
        for outcome, count in edits["outcomes"].items():
            print(f"{outcome:<20} {count}")
        print(f"findings: {len(edits['findings'])}", *edits["findings"][:20], sep="\n")
        sys.exit(bool(edits["findings"]))
    if arguments.atheris:
        coverage_guided(arguments.atheris)
        return
    found = campaign(arguments.files, arguments.seed)
    for outcome, count in found["outcomes"].items():
        print(f"{outcome:<16} {count}")
    print(
        f"findings: {len(found['findings'])}; slowest file {found['slowest_s'][0]:.3f} s ({found['slowest_s'][1]}); "
        f"peak memory of the process {found['peak_mib']:.0f} MiB"
    )
    for finding in found["findings"][:20]:
        print(finding)
    sys.exit(bool(found["findings"]))


if __name__ == "__main__":
    main()
