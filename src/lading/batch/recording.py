"""What a registry is to know of a batch run while it goes on. A registry that does not answer stops no run.

Nothing of the output depends on it: the folder of a run says by itself what was done there.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lading.batch.ledger import Manifest
from lading.batch.plan import Plan
from lading.batch.scoring import Done
from lading.batch.traffic import window_of
from lading.errors import LadingError, RegistryUnavailable
from lading.profile.encoding import encode
from lading.runs import BatchFacts, ColumnDrift, Run

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.registry.monitoring import Monitoring
    from lading.registry.runs import Runs

_EVERY_S = 5.0
_MOST_INPUTS = 200
_MOST_REASONS = 20

Progress = Callable[[int, int, int], None]
"""Called with parts that are done, all parts, and rows so far."""

log = logging.getLogger("lading.batch")


class Recorder:
    """Reports one run to `runs`, or with None to no registry, and calls `progress` after each part.

    It does so every few seconds, so that of a run that was killed it is soon known.
    """

    def __init__(
        self,
        runs: Runs | None = None,
        *,
        actor: str = "",
        host: str = "",
        every_s: float = _EVERY_S,
        progress: Progress | None = None,
        monitoring: Monitoring | None = None,
    ) -> None:
        self._monitoring = monitoring
        self._runs, self._actor, self._host, self._every_s = runs, actor, host, every_s
        self._progress = progress
        self._run: Run | None = None
        self._began = time.monotonic()
        self._rows_now = 0
        self._reasons = Counter[str]()
        self.missed: RegistryUnavailable | None = None
        """Why the registry does not know how the run has ended, or None if it does."""

    @contextmanager
    def recording(self, plan: Plan, output: Path | str, engine: str) -> Iterator[None]:
        """Report a run from here to the end of the block, and how it ends."""
        name, _, version = plan.model.partition(":")
        self._run = Run(
            # The same run where it goes on: what was begun there, on the same host.
            id=_identity(self._host, str(output), plan),
            kind="batch",
            name=name,
            version=int(version or 0),
            digest=plan.bundle,
            actor=self._actor,
            host=self._host,
            batch=BatchFacts(
                engine=engine,
                output=str(output),
                plan=plan.identity,
                where=plan.where,
                files=len(plan.files),
                parts=len(plan.tasks),
            ),
        )
        self._began = time.monotonic()
        ended = threading.Event()
        reporter = threading.Thread(target=self._report_until, args=(ended,), name="run-reports", daemon=True)
        reporter.start()
        try:
            yield
        except BaseException as error:
            # Ctrl-C too: who looks at the registry sees that nobody is at work.
            text = str(error) if isinstance(error, LadingError) else f"ended by {type(error).__name__}"
            self._change(state="failed", text=text)
            raise
        else:
            self._change(state="finished")
        finally:
            ended.set()
            reporter.join()
            self._save()

    def scored(self, parts: Collection[Done], *, before: bool = False) -> None:
        """Record parts that are done now, or that were done `before` this process began."""
        assert self._run is not None
        assert self._run.batch is not None
        facts = self._run.batch
        for each in parts:
            self._reasons.update(dict(each.reasons))
        rows = sum(each.rows for each in parts)
        if not before:
            self._rows_now += rows
        passed = time.monotonic() - self._began
        self._change_facts(
            parts_done=facts.parts_done + len(parts),
            resumed=facts.resumed + (len(parts) if before else 0),
            rows=facts.rows + rows,
            scored=facts.scored + sum(each.scored for each in parts),
            rejected=facts.rejected + sum(each.rejected for each in parts),
            left_out=facts.left_out + sum(each.left_out for each in parts),
            reasons=tuple(self._reasons.most_common(_MOST_REASONS)),
            rows_per_s=self._rows_now / passed if passed else 0.0,
        )
        if self._progress is not None and not before:
            self._progress(facts.parts_done + len(parts), facts.parts, facts.rows + rows)

    def judged(self, drift: Sequence[ColumnDrift], failed: Sequence[tuple[str, int]]) -> None:
        """Record the columns of the whole run, and of the input checks that rows failed."""
        self._change_facts(drift=tuple(drift), failed=tuple(failed))

    def published(self, manifest: Manifest, digest: str) -> None:
        """Record what was published, and of the SHA-256 of its manifest."""
        self._change_facts(manifest=digest, reasons=manifest.reasons, inputs=manifest.inputs[:_MOST_INPUTS])

    def counted(self, bundle: Bundle, plan: Plan, done: Sequence[Done], seconds: float) -> None:
        """Have the model's monitoring count the rows of a run, once however often it is reported.

        Does nothing for a recorder that was made without.
        """
        assert self._run is not None
        if self._monitoring is None:
            return
        window = window_of(bundle, plan, done, identity=self._run.id, now=time.time(), seconds=seconds)
        if window is None or bundle.profile is None:
            return
        try:
            # Before the window: nobody ever reads one whose profile is missing.
            self._monitoring.add_profile(window.profile, encode(bundle.profile))
            self._monitoring.add_windows([window])
        except RegistryUnavailable as error:
            log.warning("not counted: %s", error)
            self.missed = error

    def _report_until(self, ended: threading.Event) -> None:
        self._save()
        while not ended.wait(self._every_s):
            self._save()

    def _save(self) -> None:
        if self._runs is None or self._run is None:
            return
        try:
            self._runs.save(self._run)
        except RegistryUnavailable as error:
            # Once: the run goes on for hours perhaps, and the last report is tried in any case.
            if self.missed is None:
                log.warning("not recorded: %s", error)
            self.missed = error
        else:
            self.missed = None

    def _change_facts(self, **values: Any) -> None:
        if self._run is not None and self._run.batch is not None:
            self._change(batch=msgspec.structs.replace(self._run.batch, **values))

    def _change(self, **values: Any) -> None:
        if self._run is not None:
            # Replaced as a whole: the thread that reports sees one moment.
            self._run = msgspec.structs.replace(self._run, **values)


def _identity(host: str, output: str, plan: Plan) -> str:
    return hashlib.sha256(msgspec.json.encode((host, output, plan.identity))).hexdigest()[:32]
