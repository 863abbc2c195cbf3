"""Records of versions and of what `gc` removed."""

from __future__ import annotations

from lading.registry.records import GcReport, Removed
from support.release_processes import new_version


def test_a_report_adds_up_the_bytes_that_were_freed():
    removed = (
        Removed("blob", "sha256:1", 1000),
        Removed("temporary file", "x", 24),
        Removed("old windows", "3", 0),
    )
    assert GcReport(removed, kept=2).freed_bytes == 1024


def test_the_reference_of_a_version_names_it_by_number(catalog):
    version = catalog.versions.add(new_version("wine"), (), lambda: None)
    assert str(version.ref) == "wine:1"
