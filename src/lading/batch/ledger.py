"""The folder of a run: what it will do, what is done, and the one manifest that makes it whole.

Below ``.lading`` are the plan, the parts that are done and a record of each; a finished run has moved its
parts beside ``manifest.json``. Whatever is killed in between is continued by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lading.batch.inputs import sha256_of
from lading.batch.plan import Plan
from lading.batch.scoring import Done, Written
from lading.blobs.locks import file_lock_if_free
from lading.errors import BatchChanged, DestinationExists
from lading.runs import RunInput

MANIFEST = "manifest.json"
STATE = ".lading"
_PLAN = "plan.json"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of a file and the files that it became; None if they would have no rows."""

    file: str
    first_row: int
    rows: int
    output: Written | None
    rejected: Written | None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole run. The same inputs and the same bundle make the same bytes of it, on any day."""

    format: int
    bundle: str
    model: str
    plan: str
    keep: tuple[str, ...]
    rows: int
    scored: int
    rejected: int
    reasons: tuple[tuple[str, int], ...]
    inputs: tuple[RunInput, ...]
    parts: tuple[Part, ...]


class Ledger:
    """What is known of a run in its folder. Use it only while `holding` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / STATE / "parts"
        self._state = folder / STATE
        self._done = folder / STATE / "done"

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep other runs out of the folder.

        Raises `DestinationExists` if one is at work there, or if the folder holds something else.
        """
        self._check_ours()
        self._done.mkdir(parents=True, exist_ok=True)
        self.parts.mkdir(parents=True, exist_ok=True)
        with file_lock_if_free(self._state / "lock") as lock:
            if lock is None:
                where = f"output `{self.folder}`"
                hint = "wait for it, or write to another folder"
                raise DestinationExists(
                    where, expected="no other run", found="one that is at work", hint=hint
                )
            yield

    def _remove_scratch(self) -> None:
        """Remove what a run that was killed had not finished."""
        for folder in (self._state, self._done, self.parts, self.parts / "rejected"):
            for path in folder.glob(".*"):
                path.unlink(missing_ok=True)

    def _check_ours(self) -> None:
        if self.folder.is_dir():
            others = [path.name for path in self.folder.iterdir()]
            if others and STATE not in others and MANIFEST not in others:
                where, actual = f"output `{self.folder}`", f"`{min(others)}`"
                raise DestinationExists(where, expected="an empty folder, or that of a run", found=actual)
        elif self.folder.exists():
            raise DestinationExists(f"output `{self.folder}`", expected="a folder", found="a file")

    def begin(self, plan: Plan) -> None:
        """Write the plan down, or hold it to the one that was begun. Raises `BatchChanged` if they differ."""
        path = self._state / _PLAN
        if not path.exists():
            write_whole(path, msgspec.json.format(msgspec.json.encode(plan), indent=2))
            return
        # By what decides the output: inputs may have been moved since.
        begun = msgspec.json.decode(path.read_bytes(), type=Plan)
        if begun.identity != plan.identity:
            raise BatchChanged(
                f"output `{self.folder}`",
                expected="the run that was begun there",
                found=_difference(begun, plan),
                hint="restore what was changed, or write to another folder",
            )

    def done(self, plan: Plan) -> dict[str, Done]:
        """Return what is done, by part. Raises `BatchChanged` if its files are not those of the ledger."""
        known = {task.part for task in plan.tasks}
        done: dict[str, Done] = {}
        # Every byte is read again: what goes on after a crash has to know what the crash has left.
        for path in sorted(self._done.glob("*.json")):
            record = msgspec.json.decode(path.read_bytes(), type=Done)
            if record.part not in known:
                raise BatchChanged(f"`{path}`", expected="a part of this run", found=f"`{record.part}`")
            for written in (record.output, record.aside):
                if written is not None:
                    self._check(written, path)
            done[record.part] = record
        return done

    def _check(self, written: Written, record: Path) -> None:
        path = self.place(written)
        hint = f"remove `{record}`, and the part is scored again"
        if path is None:
            raise BatchChanged(f"part `{written.name}`", expected="its file", found="none", hint=hint)
        if path.stat().st_size != written.size_bytes or sha256_of(path) != written.sha256:
            actual = "other bytes"
            where = f"part `{written.name}`"
            raise BatchChanged(where, expected="the bytes that were written", found=actual, hint=hint)

    def place(self, written: Written) -> Path | None:
        """Return where a file is: with the finished ones, still below the state, or nowhere."""
        places = (self.folder / written.name, self.parts / written.name)
        return next((path for path in places if path.is_file()), None)

    def record(self, done: Done) -> None:
        """Write down that a part is done; its files are on the disk already."""
        write_whole(self._done / f"{done.part}.json", msgspec.json.encode(done))

    def finished(self) -> Manifest | None:
        """Return the manifest of a finished run."""
        path = self.folder / MANIFEST
        return read_manifest(self.folder) if path.exists() else None

    def publish(self, plan: Plan, done: Sequence[Done]) -> Manifest:
        """Move all parts to where readers look, and commit them by writing the manifest."""
        # Killed here, the next run finds parts in either place, and moves the rest.
        manifest = make_manifest(plan, done)
        for each in done:
            for written in (each.output, each.aside):
                if written is not None and not (self.folder / written.name).is_file():
                    (self.folder / written.name).parent.mkdir(exist_ok=True)
                    (self.parts / written.name).rename(self.folder / written.name)
        for folder in (self.folder, self.folder / "rejected"):
            if folder.is_dir():
                sync_folder(folder)
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        # Made where nobody looks: of a run that is killed here nothing is left beside its parts.
        write_whole(self.folder / MANIFEST, data, self._state)
        return manifest


def make_manifest(plan: Plan, done: Sequence[Done]) -> Manifest:
    """Return what the manifest of a run says."""
    by_part = {each.part: each for each in done}
    parts, reasons = [], dict[str, int]()
    totals = {file.name: [0, 0, 0] for file in plan.files}
    for task in plan.tasks:
        each, file = by_part[task.part], plan.files[task.file]
        parts.append(Part(file.name, task.span.first_row, each.rows, each.output, each.aside))
        for at, count in enumerate((each.rows, each.scored, each.rejected)):
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
        rows=sum(source.rows for source in inputs),
        scored=sum(source.scored for source in inputs),
        rejected=sum(source.rejected for source in inputs),
        reasons=tuple(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))[:20]),
        inputs=inputs,
        parts=tuple(parts),
    )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a finished run. Raises `BatchChanged` if it is not what lading writes."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        hint = "a run that has not ended has none; `lading batch run` goes on with it"
        raise BatchChanged(f"`{folder}`", expected=f"`{MANIFEST}`", found="none", hint=hint) from None
    except msgspec.MsgspecError as error:
        raise BatchChanged(f"`{path}`", expected="the manifest of a run", found=str(error)) from None


def write_whole(path: Path, data: bytes, scratch_folder: Path | None = None) -> None:
    """Write a file so that after a crash it exists as a whole, or not at all.

    It is made in `scratch_folder`, which is its own folder without one.
    """
    scratch = (scratch_folder or path.parent) / f".{path.name}.{os.getpid()}"
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    # A file that is on the disk may still have no name there.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _difference(begun: Plan, plan: Plan) -> str:
    if begun.bundle != plan.bundle:
        return f"another bundle, {plan.bundle[:19]}…"
    if begun.keep != plan.keep:
        return "other columns with `--keep`"
    before = {file.name: file.sha256 for file in begun.files}
    now = {file.name: file.sha256 for file in plan.files}
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            change = "changed" if name in before and name in now else "gone" if name in before else "added"
            return f"input `{name}` {change} since"
    return "other ranges, which another version of lading has made"
