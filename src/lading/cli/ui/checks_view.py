"""How the input checks of a bundle are shown: a table of the rules in force. Checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.bundle import Bundle

_MOST_RULES = 60


def checks_table(bundle: Bundle) -> None:
    """Print a row for each rule by which a server checks requests; nothing for a bundle that has none."""
    # Imported here: `--help` does not need numpy.
    from lading.input_checks.stated_rules import rules_of

    manifest = bundle.manifest
    rules = rules_of(manifest.signature, bundle.profile, manifest.checks)
    if not rules:
        return
    printing.data("")
    rows = [
        (rule.column, rule.kind, rule.expected, "stated" if rule.is_stated else "profile")
        for rule in rules[:_MOST_RULES]
    ]
    printing.table(("column", "input check", "expected", "from"), rows)
    if len(rules) > _MOST_RULES:
        printing.info(f"{len(rules) - _MOST_RULES} more checks")
