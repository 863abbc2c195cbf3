"""How versions of the registry are shown."""

from __future__ import annotations

from lading.cli.ui.runs_view import Runs
from lading.cli.ui.version_view import version_fields, version_json, version_table
from support.workloads import DIGEST, version


def test_a_version_is_a_row_with_its_digest_shortened_and_its_time_to_the_minute(capsys):
    version_table([version(3)], [Runs("code", DIGEST, "3.11")])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "ref",
        "tags",
        "purpose",
        "owner",
        "size",
        "executes",
        "environment",
        "pushed",
        "digest",
    ]
    assert "  ".join(row.split(maxsplit=2)[:2]) == "iris:3  classification"
    assert row.endswith(f"1.0 MB  code      {DIGEST[:19]} py3.11  2026-01-01 00:00  sha256:000000000000")


def test_the_fields_and_the_json_have_the_whole_digest():
    fields = dict(version_fields(version(3), Runs()))
    assert (fields["digest"], fields["executes"]) == (version(3).digest, "unknown")
    assert version_json(version(3))["ref"] == "iris:3"
    assert version_json(version(3))["digest"] == version(3).digest
