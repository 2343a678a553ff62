"""Notebooks become pages: code, outputs, pictures, and every notebook has one."""

from __future__ import annotations

from pathlib import Path

import nbformat

from benchmarks.tutorials import ORDER, page

ROOT = Path(__file__).parents[1]


def test_each_notebook_is_a_page_of_the_site_with_answers() -> None:
    assert set(ORDER) == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}
    site, teaching = (ROOT / "mkdocs.yml").read_text(), (ROOT / "docs" / "teaching.md").read_text()
    for name in ORDER:
        assert f"tutorials/{name}.md" in site and f"notebooks/{name}.ipynb" in teaching
        cells = [c.source for c in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells]
        assert any(c.startswith("## Exercises") for c in cells) and "## Answers" in cells
        answers = cells[cells.index("## Answers") + 1 :]
        assert answers and "assert " in answers[0] and sum("assert " in c for c in answers) >= len(answers) - 1, name


def test_outputs_are_shown() -> None:
    new = nbformat.v4
    code = new.new_code_cell(
        "x", outputs=[new.new_output("stream", name=n, text="a\n" * 70) for n in ("stdout", "stderr")]
    )
    drawn = new.new_code_cell("y", outputs=[new.new_output("display_data", data={"image/png": "aGVsbG8="})])
    text, pictures = page(new.new_notebook(cells=[new.new_markdown_cell("# T"), code, drawn]), "n")
    assert text.startswith("# T\n") and "```python\nx\n```" in text and text.count("... and 10 lines more") == 1
    assert pictures == {"n-0.png": b"hello"} and "(n-0.png)" in text
