"""What axe-core says of a page in a browser: Deque's rules for WCAG 2.2 A and AA, and good practice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / ".venv-clients" / "axe" / "node_modules" / "axe-core" / "axe.min.js"

needs_axe = pytest.mark.skipif(not AXE.exists(), reason="no axe-core: `scripts/clients axe` installs it")


def violations(page: Page) -> list[str]:
    """Return a line for each violation. The page was opened with `bypass_csp`, which allows the script."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=AXE)
    result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n    {node['html'][:200]}"
        f"\n    {_reason(node)}"
        for violation in result["violations"]
        for node in violation["nodes"][:5]
    ]


def _reason(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for kind in ("any", "all", "none") for check in node[kind])[:300]
