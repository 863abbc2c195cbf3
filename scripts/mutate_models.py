"""Verify models that are mutations of ONNX's node tests, and report how verifying ended.

``python scripts/mutate_models.py --seconds 600``. Each must end with a sentence within the limit: a crash or
an endless run is a check that failed. Processes of models are forked from one that has imported what they
need, and latency is measured over five runs; one model of `--sample` is verified once more by the command
line, which must say the same. ``--seed S --only N`` verifies one model again. Exits with 1, and keeps the
bundles in ``--keep``, if a verification did not end as it must.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lading.errors import LadingError
from lading.evidence import Check, Evidence
from lading.runtime.host.signals import how_it_ended
from lading.verify import isolation, measure, verify
from support.forked_modules import ForkedModules, Zygote
from support.mutated_models import mutable_cases, mutated
from support.onnx_node_cases import NodeCase

GRACE_S = 10.0
"""How much longer than its limit verifying may take: processes that start and end on a busy machine."""

_BAD = "BAD: "


def ending(check: Check) -> str:
    """Return in a few words how a check ended; ``BAD: …`` is a fault of lading."""
    sentence = check.found
    if not sentence or "Traceback" in sentence or "exit code" in sentence:
        return f"{_BAD}`{check.name}`: {sentence or 'a failure without a sentence'}"
    if "ended with SIG" in sentence:
        return f"`{check.name}`: {sentence.partition('ended with ')[2].partition(' in ')[0]}"
    if "had not ended" in sentence or "an end within" in check.expected:
        return f"`{check.name}`: had not ended"
    return f"`{check.name}` fails"


def outcome(evidence: Evidence) -> str:
    """Return how verifying ended: what is bad in it first."""
    if not evidence.failures:
        return "holds"
    endings = [ending(check) for check in evidence.failures]
    return next((each for each in endings if each.startswith(_BAD)), endings[0])


class Campaign:
    """One process that verifies every so many-th model."""

    def __init__(self, cases: Sequence[NodeCase], zygote: Zygote, options: argparse.Namespace) -> None:
        self._cases, self._options = cases, options
        # What verification starts, it starts through this module.
        isolation.subprocess = measure.subprocess = ForkedModules(zygote)  # type: ignore[assignment]

    def run(self, numbers: range, until: float, reports: Connection) -> None:
        """Verify models by number until the time is up, and report each before and after."""
        for number in numbers:
            if time.monotonic() > until:
                break
            reports.send((number, None))
            reports.send((number, self.verify(number)))
        reports.send((None, None))

    def verify(self, number: int) -> tuple[str, str, float]:
        """Verify one model; return how that ended, what was changed, and how long it took in seconds."""
        case, changes = mutated(self._cases, self._options.seed, number)
        changes = f"{case.name}: {changes}"
        with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
            path = Path(folder) / "b"
            began = time.monotonic()
            try:
                bundle = case.bundle(path)
            except LadingError as error:
                return f"no bundle: {type(error).__name__}", changes, 0.0
            except Exception as error:  # noqa: BLE001 - what the campaign looks for
                return f"{_BAD}packing raised {type(error).__name__}: {error}", changes, 0.0
            try:
                evidence = verify(bundle, timeout_s=self._options.limit_s)
                words = outcome(evidence)
                if number % self._options.sample == 0:
                    words = self._compared(evidence, path) or words
            except Exception as error:  # noqa: BLE001 - what the campaign looks for
                words = f"{_BAD}verifying raised {type(error).__name__}: {error}"
            took_s = time.monotonic() - began
            if words.startswith(_BAD):
                shutil.copytree(folder, self._options.keep / str(number), dirs_exist_ok=True)
            return words, changes, took_s

    def _compared(self, evidence: Evidence, path: Path) -> str:
        """Verify by the command line as well; return what is bad if it says something else."""
        # What takes long here takes longer there: a run that does not end says the same after any time.
        limit_s = self._options.limit_s * 5
        command = [
            sys.executable,
            "-m",
            "lading",
            "verify",
            str(path),
            "--json",
            "--timeout-s",
            f"{limit_s:g}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s + 60, check=False)
        try:
            checks = json.loads(done.stdout)["evidence"]["checks"]
        except (ValueError, KeyError):
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            return f"{_BAD}`lading verify` {how_it_ended(done.returncode)}, and said {last[:200]}"
        by_command = {check["name"]: _same(check.get("found", "")) for check in checks if _failed(check)}
        here = {check.name: _same(check.found) for check in evidence.failures}
        late = any("had not ended" in sentence for sentence in by_command.values())
        if late and done.returncode == 1 and by_command.keys() == here.keys():
            return ""  # What takes much time and much memory reaches one limit or the other first.
        if done.returncode != int(bool(here)) or by_command != here:
            return f"{_BAD}`lading verify` says {by_command or done.returncode}, and the fork {here}"
        return ""


def _failed(check: dict[str, Any]) -> bool:
    return bool(check["outcome"] == "failed")


def _same(sentence: str) -> str:
    """Return a sentence without what may differ from run to run: numbers, and what a library says last."""
    return re.sub(r"-?\d[\w.+-]*", "N", sentence.partition(" (")[0])


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Jobs:
    """The processes of a campaign; one that ends, or says nothing for too long, is a failure."""

    def __init__(
        self, cases: Sequence[NodeCase], zygotes: Sequence[Zygote], options: argparse.Namespace
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.slowest = (0.0, 0, "")
        self._cases, self._zygotes, self._options = cases, zygotes, options
        self._until = time.monotonic() + options.seconds
        self._running: dict[Any, tuple[Any, int]] = {}  # a process and its job, by where it reports
        self._current: dict[int, tuple[int, float]] = {}  # a number and since when, by job

    def run(self) -> None:
        """Run to the end."""
        for job in range(len(self._zygotes)):
            self._start(job, job)
        while self._running:
            for reports in wait(list(self._running), timeout=1):
                self._read(reports)
            for reports, (process, job) in list(self._running.items()):
                number, since = self._current[job]
                if time.monotonic() - since > 10 * self._options.limit_s + GRACE_S:
                    process.kill()
                    self._end(reports, number, f"{_BAD}verifying had not ended")

    def _start(self, job: int, first: int) -> None:
        reports, child = multiprocessing.Pipe(duplex=False)
        numbers = range(first, sys.maxsize, len(self._zygotes))
        campaign = Campaign(self._cases, self._zygotes[job], self._options)
        context = multiprocessing.get_context("fork")
        process = context.Process(target=campaign.run, args=(numbers, self._until, child))
        process.start()
        child.close()
        self._running[reports] = (process, job)
        self._current[job] = (first, time.monotonic())

    def _read(self, reports: Any) -> None:
        process, job = self._running[reports]
        try:
            number, result = reports.recv()
        except EOFError:
            process.join()
            end = how_it_ended(process.exitcode)
            self._end(reports, self._current[job][0], f"{_BAD}the verifying process ended with {end}")
            return
        if number is None:
            process.join()
            del self._running[reports]
        elif result is None:
            self._current[job] = (number, time.monotonic())
        else:
            self.note(number, *result)

    def _end(self, reports: Any, number: int, words: str) -> None:
        process, job = self._running.pop(reports)
        process.join()
        self.note(number, words, "", 0.0)
        if time.monotonic() < self._until:
            self._start(job, number + len(self._zygotes))

    def note(self, number: int, words: str, changes: str, took_s: float) -> None:
        """Count one model."""
        if took_s > self._options.limit_s + GRACE_S and number % self._options.sample:
            words = f"{_BAD}verifying took {took_s:.0f} s"
        self.slowest = max(self.slowest, (took_s, number, changes))
        self.counts[words.partition(":")[0] if words.startswith(_BAD) else words] += 1
        if words.startswith(_BAD):
            self.bad.append(f"--seed {self._options.seed} --only {number}  {changes}\n    {words}")


def main() -> int:
    """Run the campaign and print how verifying ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--limit-s", type=float, default=4, help="limit of each verification")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one model")
    parser.add_argument("--sample", type=int, default=200, help="every so many-th by the command line too")
    parser.add_argument("--keep", type=Path, default=Path("mutated"))
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    zygotes = [Zygote() for _ in range(1 if options.only is not None else options.jobs)]
    cases = mutable_cases()
    if options.only is not None:
        options.sample = 1
        words, changes, took_s = Campaign(cases, zygotes[0], options).verify(options.only)
        sys.stdout.write(f"{changes}\n{words}\n{took_s:.1f} s\n")
        return int(words.startswith(_BAD))
    jobs = Jobs(cases, zygotes, options)
    began = time.monotonic()
    jobs.run()
    took_s = time.monotonic() - began
    for zygote in zygotes:
        zygote.close()
    return report(jobs, took_s)


def report(jobs: Jobs, took_s: float) -> int:
    """Print the table, and each failure with how to repeat it."""
    verified = sum(count for words, count in jobs.counts.items() if not words.startswith("no bundle"))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    each_ms = (usage.ru_utime + usage.ru_stime) / max(1, jobs.counts.total()) * 1e3
    rate = f"{verified / took_s:.1f} a second, {each_ms:.0f} ms of CPU each"
    sys.stdout.write(f"{verified:,} models verified in {took_s:.0f} s, {rate}\n")
    sys.stdout.write("the longest took {:.1f} s: number {}, {}\n".format(*jobs.slowest))
    for words, count in jobs.counts.most_common():
        sys.stdout.write(f"{count:7,}  {words}\n")
    for line in jobs.bad:
        sys.stdout.write(f"{line}\n")
    return int(bool(jobs.bad))


if __name__ == "__main__":
    sys.exit(main())
