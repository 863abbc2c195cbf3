"""What a task leaves in XCom: the numbers and digests of a command's JSON, without its long lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from lading.evidence import Fingerprint

_MOST_REASONS = 10
"""XCom is a row in Airflow's database: the manifest of the run has all of them."""

Report = dict[str, Any]


def verify_report(document: Mapping[str, Any]) -> Report:
    """Return whether a bundle holds, on which runtime, and the outcome of each check."""
    evidence = document["evidence"]
    return {
        "name": evidence["name"],
        "bundle": evidence["bundle"],
        "holds": document["holds"],
        "runtime": msgspec.convert(evidence["fingerprint"], Fingerprint).id,
        "checks": {check["name"]: check["outcome"] for check in evidence["checks"]},
        "measured_at": evidence["measured_at"],
    }


def batch_report(document: Mapping[str, Any], folder: str) -> Report:
    """Return rows, drift and digests of a run whose output is in `folder`.

    ``plan`` is the digest of bundle, inputs and options, ``manifest`` that of the file which lists all other
    files: both are the same whenever the same was scored. ``drift_known`` is false without a profile.
    """
    manifest = document["manifest"]
    # As the ledger writes it: `sha256sum manifest.json` says the same.
    written = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return {
        "model": manifest["model"],
        "bundle": manifest["bundle"],
        "folder": folder,
        "plan": manifest["plan"],
        "manifest": hashlib.sha256(written).hexdigest(),
        "files": len(manifest["inputs"]),
        "rows": manifest["rows"],
        "scored": manifest["scored"],
        "rejected": manifest["rejected"],
        "reasons": manifest["reasons"][:_MOST_REASONS],
        "failed_checks": document["failed"][:_MOST_REASONS],
        "drift_known": bool(document["drift"]),
        "drifted": {each["column"]: round(each["psi"], 4) for each in document["drift"] if each["drifted"]},
        "resumed": document["resumed"],
        "seconds": round(document["seconds"], 3),
    }


def monitor_report(document: Mapping[str, Any]) -> Report:
    """Return what is known of live traffic: rows, open alarms, columns that alarm, what is unknown."""
    return {
        "name": document["name"],
        "version": document["version"],
        "rows": document["rows"],
        "alarms": [alarm for alarm in document["alarms"] if not alarm["ended_at"]],
        "alarming": [column["name"] for column in document["columns"] if column["is_alarming"]],
        "unknown": document["unknown"],
    }


def release_report(document: Mapping[str, Any]) -> Report:
    """Return which release it is, of which bundle, and where it stands."""
    release = document["release"]
    wanted = ("name", "number", "state", "live", "candidate", "weight_percent", "reason", "actor")
    report = {key: release[key] for key in wanted}
    # A release that is only looked at names no bundle.
    return report | {key: document[key] for key in ("ref", "digest") if key in document}
