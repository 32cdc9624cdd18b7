"""The HTML report in a real browser: nothing refused, nothing on the console, and the lines are really drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossdoctor.report import html
from tests.report.cases import REPORTS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium here; `apt-get install chromium` brings one")
DARK = "--blink-settings=preferredColorScheme=0"


def browse(page: Path, *arguments: str) -> tuple[str, list[str]]:
    """(stdout, what was said on the page's console) of a headless run on `page`."""
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            f"--user-data-dir={page.parent / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=1000",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def picture(folder: Path, document: str, *arguments: str, size: str = "1300,900") -> Any:
    """The page as pixels (height, width, 3), after nothing was said on its console."""
    import tensorflow as tf

    (folder / "page.html").write_text(document, encoding="utf-8")
    target = folder / "page.png"
    _, console = browse(folder / "page.html", f"--screenshot={target}", f"--window-size={size}", *arguments)
    assert console == []
    return tf.io.decode_png(target.read_bytes(), channels=3).numpy().astype(int)


def red(pixels: Any) -> int:
    """How many pixels have the colour of an error."""
    return int((np.abs(pixels - np.array([0xC0, 0x19, 0x2C])).max(axis=-1) < 12).sum())


def test_the_console_would_tell(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    document = html.render(REPORTS["clean"])
    page.write_text(document.replace("</body>", "<script>1</script></body>"), encoding="utf-8")
    assert any("Content Security Policy" in line for line in browse(page, "--dump-dom")[1])
    page.write_text(document.replace("</body>", "<img src='http://127.0.0.1:9/x.png'></body>"), encoding="utf-8")
    assert any("Content Security Policy" in line for line in browse(page, "--dump-dom")[1])


def test_the_dom_has_the_lines_and_the_buttons(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(html.render(REPORTS["detector"]), encoding="utf-8")
    dom, console = browse(page, "--dump-dom")
    assert console == []
    drawn = re.findall(r'<path class="(line[^"]*)" data-left="([^"]*)" data-right="([^"]*)"', dom)
    assert len(drawn) == 9 and sum(kind == "line bad" for kind, *_ in drawn) == 2
    assert ("line", "y['label']", "y_pred['label']") in drawn
    assert dom.count('<button type="button">Copy</button>') == 1


def test_the_lines_are_painted_red_where_an_error_is_about_them(tmp_path: Path) -> None:
    document = html.render(REPORTS["detector"])
    without = re.sub(r'<path class="line bad" data.*?</path>', "", document)
    assert red(picture(tmp_path, document)) > red(picture(tmp_path, without)) + 100


def test_light_and_dark(tmp_path: Path) -> None:
    document = html.render(REPORTS["silent"])
    assert picture(tmp_path, document)[5, 5].min() == 255
    assert picture(tmp_path, document, DARK)[5, 5].max() < 40


def test_narrow_pages_do_not_run_off_to_the_side(tmp_path: Path) -> None:
    # The margin at the right stays empty; only the drawing scrolls, in its own box.
    for name in ("detector", "raises"):
        pixels = picture(tmp_path, html.render(REPORTS[name]), size="500,1400")
        assert (pixels[:, -12:] == 255).all(), name
