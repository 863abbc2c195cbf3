"""From the request of a client to a job: its id, its options, and what its answer depends on.

Stores nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from urllib.parse import quote

from lading.errors import BodyTooLarge, UsageError
from lading.jobs import LONGEST_KEY, PRIORITIES, Submission
from lading.server.http.messages import Request
from lading.server.inference.dataplane import DataPlane
from lading.server.jobs import hook_rules
from lading.server.jobs.hook_rules import HookRules
from lading.server.jobs.targets import target_of
from lading.settings import ServeSettings

PRIORITY = "x-lading-job-priority"
KEY = "idempotency-key"

_KEPT = ("content-type", "content-encoding", "accept", "inference-header-content-length", "x-lading-key")
"""Headers that the answer depends on. Credentials are not among them: the catalog keeps what is here."""
_KEPT_FOR_TRACES = ("traceparent", "tracestate")
_NUMBER = re.compile(r"[+-]?\d{1,9}")
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def submission_of(
    request: Request, pattern: str, plane: DataPlane, settings: ServeSettings, rules: HookRules
) -> Submission:
    """Return the job that asks the predict route of `pattern` what `request` holds.

    Raises `BodyTooLarge` and `UsageError`.
    """
    most = settings.max_job_bytes
    if len(request.body) > most:
        hint = "send fewer rows, raise `max_job_bytes`, or use `lading batch`"
        expected = f"at most {most} bytes"
        raise BodyTooLarge("body of a job", expected=expected, found=f"{len(request.body)}", hint=hint)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
    name, target = target_of(request.params, plane)
    # By the parameters and not by the path, which may begin with the prefix of this server's proxy.
    # Quoted, because a name comes unquoted from the router.
    path = pattern.format(**{key: quote(value, safe="") for key, value in request.params.items()})
    kept = {key: headers[key] for key in _KEPT if key in headers}
    webhook, priority = headers.get(hook_rules.HEADER, ""), _priority(headers)
    if webhook:
        rules.check(webhook)
    digest = hashlib.sha256()
    # With the options: the same key with another webhook would call the first one alone.
    for part in (path, repr(sorted(kept.items())), webhook, str(priority)):
        digest.update(part.encode() + b"\0")
    digest.update(request.body)
    return Submission(
        # Nobody can guess it: to know it is enough to read the answer.
        id=secrets.token_hex(16),
        name=name,
        target=target,
        path=path,
        headers=kept | {key: headers[key] for key in _KEPT_FOR_TRACES if key in headers},
        body=request.body,
        fingerprint=digest.hexdigest(),
        priority=priority,
        key=_key(headers),
        webhook=webhook,
    )


def _priority(headers: Mapping[str, str]) -> int:
    text = headers.get(PRIORITY, "0").strip()
    least, most = PRIORITIES
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        expected = f"a whole number from {least} to {most}"
        raise UsageError(f"`{PRIORITY}`", expected=expected, found=f"`{text[:64]}`")
    return int(text)


def _key(headers: Mapping[str, str]) -> str:
    key = headers.get(KEY, "")
    if key and (len(key) > LONGEST_KEY or not _KEY.fullmatch(key)):
        expected = f"at most {LONGEST_KEY} printable characters"
        raise UsageError(f"`{KEY}`", expected=expected, found=f"{len(key)} characters")
    return key
