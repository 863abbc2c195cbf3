"""A page in a real browser: how wide it becomes in a window of some width, and what it looks like."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `apt-get install chromium`")

# The page is in a frame, because no window of Chromium is narrower than 500 pixels.
_FRAME = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" srcdoc="{page}" style="border:0;width:{width}px;height:{height}px"></iframe>
<pre id="result"></pre><script>
document.getElementById("page").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  document.getElementById("result").textContent = JSON.stringify({{
    scrollWidth: root.scrollWidth,
    wide: [...page.querySelectorAll("body *")]
      .filter(element => element.getBoundingClientRect().right > root.clientWidth + 1)
      .map(element => element.tagName + "." + element.getAttribute("class")),
    text: page.body.innerText,
    scripts: page.scripts.length,
    tops: Object.fromEntries([...page.querySelectorAll("[id], dl.facts")]
      .map(element => [element.id || "facts", element.getBoundingClientRect().top])),
  }});
}};
</script>"""


def measured(page: str, width: int, folder: Path, *, height: int = 800) -> dict[str, Any]:
    """Show a page in a window of this size; return its scroll width, what is too wide, and where ids are."""
    path = folder / f"frame-{width}.html"
    path.write_text(_FRAME.format(page=html.escape(page), width=width, height=height), "utf-8")
    dom = _chromium(folder, "--dump-dom", "--virtual-time-budget=10000", path.as_uri()).stdout.decode()
    match = re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    assert match is not None
    result: dict[str, Any] = json.loads(html.unescape(match[1]))
    return result


def printed(page: Path, folder: Path) -> Path:
    """Print a page as a PDF file."""
    path = folder / "page.pdf"
    _chromium(folder, f"--print-to-pdf={path}", "--no-pdf-header-footer", page.as_uri())
    return path


def photographed(page: Path, target: Path, *, width: int, height: int, scale: float = 1) -> None:
    """Write a picture of the top of a page as a PNG file."""
    options = (f"--screenshot={target}", f"--window-size={width},{height}", "--hide-scrollbars")
    _chromium(target.parent, *options, f"--force-device-scale-factor={scale}", page.as_uri())


def _chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    assert CHROMIUM is not None
    # A container's root has no user namespace for the sandbox; the page is our own, and loads nothing.
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'chromium'}")
    return subprocess.run([CHROMIUM, *options, *arguments], capture_output=True, check=True, timeout=120)
