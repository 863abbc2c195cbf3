"""The gate of published vulnerabilities: a version whose last scan says too much is held back.

So is one without a scan. Scans nothing: a release must not depend on which feeds are on one machine.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, cast

from lading.errors import FeedStale, GateNotMet
from lading.gates import VULNERABILITY, Gates
from lading.trust.records import last_scan
from lading.trust.scan import MAX_AGE_DAYS, above, check_ages

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry
    from lading.trust.severity import Severity


def check_scan(registry: Registry, gates: Gates, version: ModelVersion) -> tuple[str, ...]:
    """Judge the last scan of a version by ``max_vulnerability``; return the gate's name if that is set.

    Raises `GateNotMet` if it says too much, is of feeds that are stale by now, or does not exist.
    """
    if gates.max_vulnerability is None:
        return ()
    limit = cast("Severity", gates.max_vulnerability)
    where = f"`{version.ref}` is not released, gate `{VULNERABILITY}`"
    hint = f"`lading scan {version.ref} --feeds DIR` makes one"
    scan = last_scan(registry.attachments, version.digest)
    if scan is None or not scan.was_checked:
        raise GateNotMet(where, expected=f"a scan with nothing above `{limit}`", found="none", hint=hint)
    now = datetime.datetime.fromtimestamp(registry.fleet.now(), datetime.UTC)
    try:
        check_ages(scan.feeds, now, MAX_AGE_DAYS)
    except FeedStale as error:
        actual = f"the scan of {scan.scanned_at[:10]}, by a feed that is stale ({error.message})"
        expected = f"a scan by feeds of the last {MAX_AGE_DAYS:g} days"
        raise GateNotMet(where, expected=expected, found=actual, hint=hint) from None
    too_bad = above(scan.findings, limit)
    if too_bad:
        first, *others = too_bad
        more = f" and {len(others)} more" if others else ""
        actual = f"{first.id} ({first.severity}) in {first.component} {first.version}{more}"
        fixed = f"fixed in {first.component} {first.fixed_in[0]}" if first.fixed_in else None
        raise GateNotMet(where, expected=f"nothing above `{limit}`", found=actual, hint=fixed)
    return (VULNERABILITY,)
