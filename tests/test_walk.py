"""Pages are walked block by block: the quick ones here, the others by `python -m benchmarks.walk`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.walk import blocks, left_out, walk

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_about_ones_own_data_runs_as_typed() -> None:
    ran, skipped = walk(DOCS / "your_data.md")
    assert ran >= 3 and all("the reader brings drive.yaml" in line for line in skipped), skipped


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


def test_what_is_not_typed_says_why() -> None:
    assert left_out("robosac budget --teammates 5") is None
    for line, why in (("robosac inspect PATH", "PATH"), ("make demo", "long"), ("robosac run --out runs/x", "runs/")):
        assert why in str(left_out(line))
    assert [b.line for b in blocks("a\n```sh\nx\n```\n\n```\ny\n```\n")] == [2, 6]
