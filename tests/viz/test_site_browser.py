"""Every page of the site in a browser, wide and narrow: nothing cut, nothing missing, nothing asked of the network.

Skipped where `make docs` has built no site.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.viz.browser import needs_chromium, opened

SITE = Path(__file__).parents[2] / "site"
PAGES = sorted(p.parent.relative_to(SITE).as_posix() for p in SITE.rglob("index.html"))
PROBE = """<!doctype html><iframe height="900" style="border: 0"></iframe><script>
const found = [];
const frame = document.querySelector("iframe");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const look = (page, width) => new Promise((done) => {
  frame.width = width;
  frame.onload = async () => {
    await wait(60);
    const view = frame.contentWindow, root = view.document.documentElement;
    const tables = [...view.document.querySelectorAll("article table")];
    const boxes = tables.map((t) => t.closest(".md-typeset__scrollwrap") || t.parentElement);
    const cut = boxes.filter((b) => b.scrollWidth > b.clientWidth + 1 || b.getBoundingClientRect().right > width + 1);
    const asked = view.performance.getEntriesByType("resource").map((e) => e.name);
    found.push({ page, width, title: view.document.title, tables: boxes.length, wide: root.scrollWidth - width,
      cut: cut.map((b) => b.textContent.trim().slice(0, 60)),
      outside: asked.filter((a) => !a.startsWith(location.origin)) });
    done();
  };
  frame.src = "/" + page;
});
(async () => {
  for (const page of PAGES) for (const width of [1400, 420]) await look(page, width);
  document.documentElement.dataset.found = JSON.stringify(found);
})();
</script>"""


class Server(SimpleHTTPRequestHandler):
    """The site and the page that looks at it; remembers what it could not give."""

    missing: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        if self.path != "/probe.html":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        addresses = [f"{page}/".replace("./", "") for page in PAGES]
        self.wfile.write(PROBE.replace("PAGES", json.dumps(addresses)).encode())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.missing.append(self.path)
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Server.missing = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Server(*a, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@needs_chromium
@pytest.mark.skipif(not PAGES, reason="make docs has built no site here")
def test_every_page_opens_whole(address: str, tmp_path: Path) -> None:
    dom, console = opened(f"{address}/probe.html", 1500, tmp_path, budget_ms=60_000)
    told = re.search(r'data-found="([^"]*)"', dom)
    assert told is not None, console
    found = json.loads(html.unescape(told[1]))
    assert len(found) == 2 * len(PAGES) and sum(f["tables"] for f in found) > 50
    assert [f for f in found if f["cut"] or f["outside"] or f["wide"] > 0 or "robosac" not in f["title"]] == []
    assert (console, [path for path in Server.missing if path != "/favicon.ico"]) == ([], [])
