"""The page about a model's live traffic: one HTML file with charts, and the sentences that it begins with.

The modules below are pure. They load nothing, and the page that they write loads nothing either.
"""

from __future__ import annotations

from lading.monitor.report.page import MOST_CARDS, report_html

__all__ = ["MOST_CARDS", "report_html"]
