"""The page: parses, asks the network for nothing, escapes everything, and shows the numbers it was given."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robosac.types import InputError
from robosac.viz.canvas import new_figure, png_bytes
from robosac.viz.report import Column, Example, Image, ReportData, Table, render, write_report

PNG = png_bytes(new_figure(0.2, 0.2))
HOSTILE = '<script>alert(\'x\')</script>"><img src=http://evil.example/a.png onerror="x()"> &amp; $title ${command}'
COLUMNS = (Column("policy", "Policy", numeric=False), Column("ap", "AP@0.5"), Column("decodes", "decodes", decimals=1))


def sample_report() -> ReportData:
    rows = (
        {"attackers": "1 of 5", "policy": "ego only", "ap": 0.61, "decodes": 1},
        {"attackers": "1 of 5", "policy": "robosac", "ap": 0.9125, "decodes": 4.25},
        {"attackers": "2 of 5", "policy": "ego only", "ap": None, "decodes": 1},
    )
    image = Image(PNG, "four cars seen from above", "the frame", wide=True)
    return ReportData(
        title="A lying teammate",
        subtitle="12 scenes",
        summary=("First.", "Second.", "Third."),
        table=Table(COLUMNS, rows, "caption", group_by="attackers", emphasise=frozenset({1})),
        charts=(Image(PNG, "bars of AP"),),
        examples=(Example("Frame 3", "Two lied.", (image, Image(PNG, "agreement")), Table(COLUMNS, rows)),),
        budget=Image(PNG, "probability against trials", "how many"),
        command="robosac demo --seed 3",
        config="seed: 3\n",
        versions={"numpy": "2.0"},
    )


class Page(HTMLParser):
    """Collects elements and text, and checks that tags close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and (not self.open or self.open[-1] != "style"):
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_report() -> ReportData:
    table = Table(
        (Column("policy", HOSTILE, numeric=False),), ({"policy": HOSTILE, "g": HOSTILE},), HOSTILE, group_by="g"
    )
    image = Image(PNG, HOSTILE, HOSTILE)
    return ReportData(
        HOSTILE, (HOSTILE,), table, HOSTILE, HOSTILE, HOSTILE, (image,), (Example(HOSTILE, HOSTILE, (image,), table),),
        image, {HOSTILE: HOSTILE},
    )  # fmt: skip


@pytest.mark.parametrize("report", [sample_report(), hostile_report()], ids=["sample", "hostile"])
def test_page_is_well_formed_and_asks_the_network_for_nothing(report: ReportData) -> None:
    page = Page(render(report))
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            inside = (value or "").startswith(("data:image/png;base64,", "#"))
            assert name not in {"src", "href", "srcset", "action"} or inside
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert scripts == [{}]  # one, our own, which the page's policy names by its hash
    assert all(image["alt"] for image in page.all("img"))
    assert "url(" not in render(report) and "@import" not in render(report)


def test_hostile_text_is_shown_as_text_everywhere() -> None:
    """20 places take text from outside; each must show it letter for letter, and expand none of its dollars."""
    page = Page(render(hostile_report()))
    shown = [text for text in page.texts if HOSTILE in text]
    titles = 3  # <title>, <h1> and the frame's in the contents
    body = 1 + 1 + 2 * 4 + 3 + 2 + 1 + 1 + 1  # subtitle, summary, tables, captions, example, command, config, versions
    assert len(shown) == titles + body
    assert [image["alt"] for image in page.all("img")] == [HOSTILE] * 3


def test_numbers_are_written_as_the_columns_say() -> None:
    page = Page(render(replace(sample_report(), examples=())))
    for text in ("0.610", "0.912", "4.2", "–", "1"):
        assert text in page.texts
    assert "None" not in page.texts


def test_groups_and_emphasis() -> None:
    page = Page(render(replace(sample_report(), examples=())))
    rows = [row.get("class") for row in page.all("tr")]
    assert rows == [None, "group", None, "strong", "group", None]
    assert page.texts.count("1 of 5") == page.texts.count("2 of 5") == 1


def test_images_are_inside_and_whole() -> None:
    images = Page(render(sample_report())).all("img")
    assert len(images) == 4
    assert all(base64.b64decode(image["src"].split(",", 1)[1]) == PNG for image in images)


def test_empty_parts_leave_no_headings() -> None:
    bare = ReportData("t", (), Table(COLUMNS, ()), "c", "")
    page = Page(render(bare))
    assert "Frames" not in page.texts and "How many trials" not in page.texts
    assert "Results" in page.texts


def test_written_whole_and_alone(tmp_path: Path) -> None:
    path = write_report(tmp_path / "runs" / "demo" / "report.html", sample_report())
    assert path.read_text(encoding="utf-8") == render(sample_report())
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Image(b"GIF89a", "x"), "expected PNG bytes"),
        (lambda: Image(PNG, "  "), "what the picture shows"),
        (lambda: render(ReportData("t", (), Table(COLUMNS, ({"policy": "p"},)), "c", "")), "expected row 0 to have"),
    ],
)
def test_errors_say_what_was_expected(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
