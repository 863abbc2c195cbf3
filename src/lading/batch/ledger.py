"""What a run will do, what is done, and the one manifest that makes it whole.

Below ``.lading`` are the plan, the parts that are done and a record of each; a finished run has brought its
parts beside ``manifest.json``. Whatever is killed in between is continued by the next run. Where files are
stored, and how they come there, is a `Place`'s to know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from lading.batch.part_file import Written
from lading.batch.places import MANIFEST, RECORDS, STATE, Place
from lading.batch.places.open import open_place
from lading.batch.plan import Plan
from lading.batch.scoring import Done
from lading.blobs.os_errors import destination_errors
from lading.errors import BatchChanged
from lading.runs import RunInput

_PLAN = f"{STATE}/plan.json"
_T = TypeVar("_T")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A range of a file and the files that it became; None if they would have no rows."""

    file: str
    first_row: int
    rows: int
    output: Written | None
    rejected: Written | None
    left_out: int = 0


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A whole run. The same inputs and the same bundle make the same bytes of it, on any day.

    ``left_out`` are the rows that ``where`` has left out. Without it both are absent, as in older manifests.
    """

    format: int
    bundle: str
    model: str
    plan: str
    keep: tuple[str, ...]
    where: str = ""
    rows: int
    scored: int
    rejected: int
    left_out: int = 0
    reasons: tuple[tuple[str, int], ...]
    inputs: tuple[RunInput, ...]
    parts: tuple[Part, ...]


class Ledger:
    """What is known of a run in its place. Use it only while `holding` it."""

    def __init__(self, output: Path | str) -> None:
        self._place = open_place(output)

    @property
    def parts(self) -> Path | str:
        """Where parts are written to before they are published."""
        return self._place.parts

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep other runs out of the place.

        Raises `OutputInUse` if one is at work there, `DestinationExists` if the place holds something else,
        and what `destination_errors` makes of a disk that is full or fails within.
        """
        with destination_errors(f"output `{self._place.where}`"), self._place.holding():
            yield

    def begun(self) -> Plan | None:
        """Return the plan of the run that was begun there, if there is one; also while not `holding` it."""
        data = self._place.read(_PLAN)
        return None if data is None else self._decoded(_PLAN, data, Plan)

    def begin(self, plan: Plan) -> None:
        """Write the plan down, or hold it to the one that was begun. Raises `BatchChanged` if they differ."""
        data = msgspec.json.format(msgspec.json.encode(plan), indent=2)
        if self._place.create(_PLAN, data):
            return
        # By what decides the output: inputs may have been moved since.
        begun = self.begun()
        if begun is not None and begun.identity != plan.identity:
            raise BatchChanged(
                f"output `{self._place.where}`",
                expected="the run that was begun there",
                found=_difference(begun, plan),
                hint="restore what was changed, or write to another folder",
            )

    def done(self, plan: Plan) -> dict[str, Done]:
        """Return what is done, by part. Raises `BatchChanged` if its files are not those of the ledger."""
        known = {task.part for task in plan.tasks}
        done: dict[str, Done] = {}
        for name in self._place.records():
            where = self._place.named(name)
            record = self._decoded(name, self._place.read(name) or b"", Done)
            if record.part not in known:
                raise BatchChanged(f"`{where}`", expected="a part of this run", found=f"`{record.part}`")
            for written in (record.output, record.aside):
                if written is not None:
                    self._check(written, where)
            done[record.part] = record
        # Whatever reads the folder would read it as well.
        for name in self._place.files():
            part = name.removeprefix("rejected/")
            if part.startswith("part-") and part not in known:
                expected = "the parts of this run"
                raise BatchChanged(
                    f"output `{self._place.where}`", expected=expected, found=f"`{name}` as well"
                )
        return done

    def _decoded(self, name: str, data: bytes, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            where, hint = f"`{self._place.named(name)}`", "remove it, and what it stands for is made again"
            raise BatchChanged(where, expected="what a run wrote", found=str(error), hint=hint) from None

    def _check(self, written: Written, record: str) -> None:
        where, hint = f"part `{written.name}`", f"remove `{record}`, and the part is scored again"
        agrees = self._place.compare(written)
        if agrees is None:
            raise BatchChanged(where, expected="its file", found="none", hint=hint)
        if not agrees:
            expected, actual = "the bytes that were written", "other bytes"
            raise BatchChanged(where, expected=expected, found=actual, hint=hint)

    def record(self, done: Done) -> None:
        """Write down that a part is done; its files exist already."""
        self._place.confirm()
        self._place.write(f"{RECORDS}/{done.part}.json", msgspec.json.encode(done))

    def finished(self) -> Manifest | None:
        """Return the manifest of a finished run."""
        if self._place.read(MANIFEST) is None:
            return None
        self._place.settle()
        return read_manifest(self._place)

    def manifest_sha256(self) -> str:
        """Return the SHA-256 of the manifest of a finished run."""
        return hashlib.sha256(self._place.read(MANIFEST) or b"").hexdigest()

    def publish(self, plan: Plan, done: Sequence[Done]) -> Manifest:
        """Bring all parts to where readers look, and commit them by writing the manifest."""
        manifest = make_manifest(plan, done)
        self._place.publish(
            [written for each in done for written in (each.output, each.aside) if written is not None]
        )
        self._place.confirm()
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        # Only one is ever committed. That of another run which had this lock is the same, byte for byte.
        if not self._place.create(MANIFEST, data) and self._place.read(MANIFEST) != data:
            where = f"`{self._place.named(MANIFEST)}`"
            raise BatchChanged(where, expected="none, or that of this run", found="another")
        self._place.settle()
        return manifest


def make_manifest(plan: Plan, done: Sequence[Done]) -> Manifest:
    """Return what the manifest of a run says."""
    by_part = {each.part: each for each in done}
    parts, reasons = [], dict[str, int]()
    totals = {file.name: [0, 0, 0, 0] for file in plan.files}
    for task in plan.tasks:
        each, file = by_part[task.part], plan.files[task.file]
        output, aside = _as_published(each.output), _as_published(each.aside)
        parts.append(Part(file.name, task.span.first_row, each.rows, output, aside, each.left_out))
        for at, count in enumerate((each.rows, each.scored, each.rejected, each.left_out)):
            totals[file.name][at] += count
        for reason, count in each.reasons:
            reasons[reason] = reasons.get(reason, 0) + count
    inputs = tuple(RunInput(f.name, f.sha256, f.size_bytes, *totals[f.name]) for f in plan.files)
    return Manifest(
        format=plan.format,
        bundle=plan.bundle,
        model=plan.model,
        plan=plan.identity,
        keep=plan.keep,
        where=plan.where,
        rows=sum(source.rows for source in inputs),
        scored=sum(source.scored for source in inputs),
        rejected=sum(source.rejected for source in inputs),
        left_out=sum(source.left_out for source in inputs),
        reasons=tuple(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))[:20]),
        inputs=inputs,
        parts=tuple(parts),
    )


def _as_published(written: Written | None) -> Written | None:
    # What one bucket calls the bytes is no part of what they are.
    return None if written is None else msgspec.structs.replace(written, etag="")


def read_manifest(place: Place) -> Manifest:
    """Return the manifest of a finished run. Raises `BatchChanged` if it is not what lading writes."""
    data = place.read(MANIFEST)
    if data is None:
        hint = "a run that has not ended has none; `lading batch run` goes on with it"
        raise BatchChanged(f"`{place.where}`", expected=f"`{MANIFEST}`", found="none", hint=hint)
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        where = f"`{place.named(MANIFEST)}`"
        raise BatchChanged(where, expected="the manifest of a run", found=str(error)) from None


def _difference(begun: Plan, plan: Plan) -> str:
    if begun.bundle != plan.bundle:
        return f"another bundle, {plan.bundle[:19]}…"
    if begun.keep != plan.keep:
        return "other columns with `--keep`"
    if begun.where != plan.where:
        return f"`--where {plan.where}`" if plan.where else "no `--where`"
    before = {file.name: file.sha256 for file in begun.files}
    now = {file.name: file.sha256 for file in plan.files}
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            change = "changed" if name in before and name in now else "gone" if name in before else "added"
            return f"input `{name}` {change} since"
    return "other ranges, which another version of lading has made"
