"""Whether a finished run is what its manifest says: its files, their bytes, every row once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from lading.batch.inputs import find_inputs
from lading.batch.ledger import Manifest, read_manifest
from lading.batch.part_file import Written
from lading.batch.places import MANIFEST, Place
from lading.batch.places.open import open_place
from lading.batch.plan import make_plan
from lading.batch.scoring import Scorer
from lading.batch.spool import Spool
from lading.batch.survey import look_at
from lading.bundle import Bundle
from lading.errors import BatchChanged
from lading.runtime.python.host import DEFAULT_HOST, PythonHost


class BatchCheck(msgspec.Struct, frozen=True):
    """What was looked at: files of the output, rows that they hold, and parts that were scored again."""

    manifest: Manifest
    files: int
    rescored: int


def check_output(output: Path | str) -> BatchCheck:
    """Check the files of a run against its manifest; each byte is read, also in a bucket.

    Raises `BatchChanged` for the first that differs.
    """
    place = open_place(output)
    manifest = read_manifest(place)
    names = {MANIFEST}
    rows = 0
    files = 0
    for part in manifest.parts:
        rows += part.rows
        for written in (part.output, part.rejected):
            if written is not None:
                _check_file(place, written)
                names.add(written.name)
                files += 1
        kept = sum(written.rows for written in (part.output, part.rejected) if written is not None)
        if kept != (chosen := part.rows - part.left_out):
            raise BatchChanged(
                f"part of `{part.file}`", expected=f"{chosen:,} rows in its files", found=f"{kept:,}"
            )
    if rows != manifest.rows or rows != manifest.scored + manifest.rejected + manifest.left_out:
        raise BatchChanged(f"`{place.where}`", expected=f"{manifest.rows:,} rows in parts", found=f"{rows:,}")
    # A part too many would be read as well by everything that reads a folder.
    for name in place.files():
        if name not in names:
            where = f"`{place.where}`"
            raise BatchChanged(where, expected="the files of its manifest", found=f"`{name}` as well")
    return BatchCheck(manifest, files, 0)


def check_against(
    output: Path | str,
    bundle: Bundle,
    paths: Sequence[Path | str],
    scratch: Path,
    *,
    again: int = 0,
    python: PythonHost = DEFAULT_HOST,
) -> BatchCheck:
    """Check a run against its bundle and inputs as well: the plan they make, and `again` parts scored again.

    Raises `BatchChanged` for other inputs, another bundle, or a part whose bytes come out otherwise.
    """
    check = check_output(output)
    manifest = check.manifest
    if bundle.digest != manifest.bundle:
        raise BatchChanged("the bundle", expected=manifest.bundle, found=bundle.digest)
    with closing(Spool()) as spool:
        inputs = find_inputs(paths, spool.connect)
        files, spans = look_at(inputs.files, spool, lambda _: None)
    signature = bundle.manifest.signature
    plan = make_plan(
        files, bundle.digest, manifest.model, signature, manifest.keep, manifest.where, spans=spans
    )
    if plan.identity != manifest.plan:
        raise BatchChanged("the inputs", expected="those of the manifest", found="others, or other ranges")
    if not again:
        return check
    scorer = Scorer(bundle, plan, python)
    # Spread over the whole run: what goes wrong late would not be seen in the first parts.
    step = max(1, len(plan.tasks) // again)
    chosen = list(range(0, len(plan.tasks), step))[:again]
    try:
        for at in chosen:
            done = scorer.score(plan.tasks[at], scratch)
            part = manifest.parts[at]
            if (done.output, done.aside) != (part.output, part.rejected):
                where = f"part `{plan.tasks[at].part}`"
                raise BatchChanged(where, expected="the bytes of the run", found="others, scored again")
    finally:
        scorer.close()
    return msgspec.structs.replace(check, rescored=len(chosen))


def _check_file(place: Place, written: Written) -> None:
    measured = place.measure(written.name)
    if measured is None:
        raise BatchChanged(f"`{written.name}`", expected="a file", found="none")
    if measured != (written.size_bytes, written.sha256):
        raise BatchChanged(f"`{written.name}`", expected="the bytes of the manifest", found="others")
