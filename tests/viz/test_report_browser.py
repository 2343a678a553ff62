"""The report in a browser, wide and narrow: no error, nothing asked of the network, no table cut."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from robosac.experiments.report import _SHOWN, _columns
from robosac.experiments.tables import LEGEND
from robosac.viz.report import Cell, ReportData, Table, render
from tests.viz.browser import needs_chromium, opened
from tests.viz.test_report import sample_report

PROBE = """<script>
const errors = [];
window.addEventListener("error", (e) => errors.push(String(e.message)));
document.addEventListener("securitypolicyviolation", (e) => errors.push(e.violatedDirective));
window.addEventListener("load", () => {
  const tables = [...document.querySelectorAll(".scroll")].filter((e) => e.querySelector("table"));
  const cut = tables.filter((e) => e.scrollWidth > e.clientWidth + 1);
  const page = document.documentElement;
  const found = { errors, cut: cut.length, wide: page.scrollWidth - page.clientWidth,
    buttons: document.querySelectorAll("thead button").length, asked: performance.getEntriesByType("resource").length };
  page.dataset.found = JSON.stringify(found);
});
</script>"""


@needs_chromium
@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("wide", [False, True])
def test_nothing_is_cut_and_nothing_fails(wide: bool, width: int, tmp_path: Path) -> None:
    page = render(wide_report() if wide else sample_report())
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", page)
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # the probe is another script
    (tmp_path / "probe.html").write_text(bare.replace("<head>", f"<head>{PROBE}", 1))
    (tmp_path / "page.html").write_text(page)
    dom, console = opened((tmp_path / "probe.html").as_uri(), width, tmp_path)
    found = json.loads(re.search(r'data-found="([^"]*)"', dom)[1].replace("&quot;", '"'))  # type: ignore[index]
    assert found["errors"] == [] and found["cut"] == 0 and found["wide"] <= 0 and found["asked"] == 0
    assert found["buttons"] > 0 and console == []
    dom, console = opened((tmp_path / "page.html").as_uri(), width, tmp_path)
    assert console == [] and "<button" in dom.partition("<thead>")[2].partition("</thead>")[0]


def wide_report() -> ReportData:
    """With all the columns that an evaluation shows, each with something in it."""
    row: dict[str, Cell] = {c.key: 0.123456 if c.decimals else 12345 for c in _columns(_SHOWN)}
    row |= {"defense": "robosac-known, told how many", "skipped": "fewer teammates than attackers"}
    table = Table(_columns(_SHOWN), [row] * 9, LEGEND)
    return replace(sample_report(), table=table)
