"""Pages are walked block by block: the quick ones here, all of them by `python -m benchmarks.walk`, in CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.walk import Block, Typist, blocks, left_out, typed_lines, walk

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_about_ones_own_data_runs_as_typed() -> None:
    ran, skipped = walk(DOCS / "your_data.md")
    assert "3 blocks of Python" in ran[-1] and all("the reader brings drive.yaml" in line for line in skipped), skipped


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "page.md:5: AssertionError"),
        ("text\n```sh\nrobosac budget --teammates 5  # runs\nfalse\n```\n", "page.md:2: false: exit code 1"),
    ],
)
def test_the_first_block_that_does_not_run_is_an_error(page: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(RuntimeError, match=said):
        walk(tmp_path / "page.md")


def test_what_takes_long_is_stopped_and_ends_as_it_promises(tmp_path: Path) -> None:
    stops = "python -c 'import time,sys\ntry: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(CODE)'"
    for code, ends in ((130, True), (1, False)):
        (tmp_path / "stops.py").write_text(stops.replace("CODE", str(code)).split("'")[1])
        (tmp_path / "page.md").write_text(f"```sh\npython {tmp_path / 'stops.py'}\n```\n")
        if ends:
            assert "as it promises" in walk(tmp_path / "page.md", Typist(patience=1.0))[0][0]
        else:
            with pytest.raises(RuntimeError, match="exit code 1"):
                walk(tmp_path / "page.md", Typist(patience=1.0))


def test_what_is_not_typed_says_why() -> None:
    assert left_out("robosac budget --teammates 5") is None and left_out("robosac demo --fast") is None
    for line, why in (("robosac run --data opv2v:PATH", "PATH"), ("make demo", "prepares"), ("robosac x my_y", "my_")):
        assert why in str(left_out(line))
    assert [b.line for b in blocks("a\n```sh\nx\n```\n\n```\ny\n```\n")] == [2, 6]
    lines = typed_lines(Block(1, "sh", "# said\nrobosac run \\\n  --data opv2v:PATH --out DIR\n"), Path("/r"))
    assert [" ".join(line.split()) for line in lines] == ["robosac run --data opv2v:/r --out made"]
