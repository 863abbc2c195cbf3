"""A registry as a team may have it on a Monday at noon, the same each time: for pictures and whole walks.

Five models: one drifts, one has a canary under way, one could not be loaded, one is paused, one only pushed.
All times are those of a clock that stands still, the database's included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import event, text

from lading.alarms import Alarm
from lading.bundle import write_bundle
from lading.evidence import Check, Evidence, Fingerprint
from lading.monitor import driver as monitoring
from lading.monitor.alerts import AlertState
from lading.monitor.driver import MonitorDriver
from lading.profile import Profile
from lading.profile.encoding import digest as digest_of
from lading.profile.encoding import encode
from lading.profile.live import ColumnWindow, LiveCounts
from lading.profile.measure import measure
from lading.registry import Registry
from lading.registry.cache import BundleCache
from lading.registry.open import open_catalog, open_store
from lading.registry.records import ModelVersion
from lading.release import EventDraft, Plan
from lading.replica import Replica, ReplicaModel
from lading.rollout import driver as rollout
from lading.signature import Signature, Tensor
from lading.trust.feeds import Advisory, Affected, Cycle, Event, Feeds, FeedState
from lading.trust.records import record_scan
from lading.trust.running import server_subject
from lading.trust.scan import scan
from support import hub_jobs, hub_runs
from support.alert_states import firing
from support.bundles import REQUIREMENTS, linear_draft, linear_model, run_model
from support.hub_rows import alarm
from support.live_windows import windows
from support.predictions import LogMaker, chunk, served

NOW = 1_796_040_000.0  # 2026-11-30 12:00 UTC
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
APPLICANT = ("age", "income", "debt_ratio", "savings", "open_loans", "months_at_address")
MINA, JONAS, ROLLOUT = "mina@bank.example", "jonas@bank.example", "rollout (models-1)"
COLUMNS = {
    "credit-default": APPLICANT,
    "churn": ("tenure", "calls", "complaints", "monthly_fee"),
    "fraud-screen": ("amount", "hour", "distance_km", "new_device"),
    "ticket-topics": ("length", "exclamations", "links", "replies"),
    "parcel-delay": ("weight_kg", "distance_km", "weekday", "stops"),
}
LABELS = {
    "credit-default": ("repaid", "late", "defaulted"),
    "churn": ("stays", "hesitates", "leaves"),
    "fraud-screen": ("fine", "review", "fraud"),
    "ticket-topics": ("billing", "delivery", "other"),
    "parcel-delay": ("on time", "same day", "late"),
}
OWNERS = {"credit-default": "risk@bank.example", "fraud-screen": "risk@bank.example"}
FINGERPRINTS = tuple(
    Fingerprint(lading="0.1.0", python=python, onnxruntime="1.32.0", numpy="2.4.6", os=os, arch=arch)
    for python, os, arch in (("3.11.9", "debian 13", "x86_64"), ("3.12.4", "ubuntu 26.04", "aarch64"))
)


@dataclasses.dataclass
class Clock:
    """Says what it is set to."""

    at: float = NOW

    def __call__(self) -> float:
        return self.at


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[tuple[Registry, Clock]]:
    """Yield the registry, written to `folder`, and the clock that it and its database go by."""
    clock, at = Clock(), str(folder / "models")
    catalog = open_catalog(at)

    def by_the_clock(connection: Any, _record: Any) -> None:
        # The database's own clock is what says who is silent.
        connection.create_function("julianday", 1, lambda _: clock.at / DAY + 2440587.5)

    catalog.database.engine.dispose()
    event.listen(catalog.database.engine, "connect", by_the_clock)
    registry = Registry(catalog, open_store(None, at), BundleCache(folder / "cache"), clock=clock)
    with registry:
        _Scene(registry, clock, folder).play()
        clock.at = NOW
        yield registry, clock


class _Scene:
    def __init__(self, registry: Registry, clock: Clock, folder: Path) -> None:
        self._registry, self._clock, self._folder = registry, clock, folder
        self._random = random.Random(16)

    def play(self) -> None:
        """Let a month go by."""
        for number, name in enumerate(COLUMNS):
            for version in range(1, 5 if name != "parcel-delay" else 2):
                self._clock.at = NOW - (36 - 7 * version - number) * DAY
                self._push(name, version)
        self._go_live()
        self._drift()
        self._clock.at = NOW - 3 * HOUR
        paused = self._registry.releases.begin(
            "ticket-topics", 4, Plan(mode="canary", steps=(5, 25, 100)), actor=JONAS, reason="new topics"
        )
        self._clock.at = NOW - 2 * HOUR
        self._registry.releases.change(
            paused,
            state="paused",
            event=EventDraft(kind="paused", actor=JONAS, reason="waits for the agents' feedback"),
        )
        self._canary()
        self._replicas()
        self._scan()
        self._log()
        self._runs()
        self._clock.at = NOW - 2 * MINUTE
        hub_jobs.store(self._registry, "churn", self._go_by)
        self._clock.at = NOW
        for lease in (rollout.LEASE, monitoring.LEASE):
            self._registry.fleet.lease(lease, "models-1", 30.0)

    def _push(self, name: str, version: int) -> None:
        columns, folder = COLUMNS[name], self._folder / f"{name}-{version}"
        signature = Signature(
            inputs=(Tensor(name="X", dtype="float32", shape=("batch", len(columns)), columns=columns),),
            outputs=(
                Tensor(name="label", dtype="int64", shape=("batch",)),
                Tensor(name="probabilities", dtype="float32", shape=("batch", 3), columns=tuple("012")),
            ),
        )
        model, inputs = linear_model(len(columns), seed=version), {"X": applicants(16, 7, len(columns))}
        from lading.bundle import Samples

        draft = linear_draft(
            name,
            features=len(columns),
            owner=OWNERS.get(name, "growth@bank.example"),
            labels=False,
            signature=signature,
            description=_DESCRIPTIONS[name],
            metrics={"accuracy": 0.86 + 0.012 * version, "auc": 0.9 + 0.013 * version},
        )
        draft = msgspec.structs.replace(draft, labels=dict(zip("012", LABELS[name], strict=True)))
        samples = Samples(inputs=inputs, outputs=run_model(model, inputs), rows=16)
        bundle = write_bundle(folder, draft, model=model, samples=samples, requirements=REQUIREMENTS)
        pushed = self._registry.push(bundle)
        if name != "parcel-delay":
            self._prove(pushed)

    def _prove(self, version: ModelVersion) -> None:
        for at, fingerprint in enumerate(FINGERPRINTS):
            checks = [Check(check, "passed") for check in ("format", "environment", "golden", "batching")]
            evidence = Evidence(
                bundle=version.digest,
                name=version.name,
                fingerprint=fingerprint,
                checks=tuple(checks),
                numbers={
                    "latency_p50_ms": 0.31 + at / 10,
                    "latency_p99_ms": 0.84 + at / 3,
                    "memory_mb": 74.0,
                },
                measured_at="2026-11-25T09:10:00Z",
            )
            self._registry.record(evidence)

    def _go_live(self) -> None:
        begin = self._registry.releases.begin
        for days, version, reason in ((16, 2, "first release"), (6, 3, "retrained on November")):
            for at, name in enumerate(("credit-default", "churn", "fraud-screen", "ticket-topics")):
                self._clock.at = NOW - (days - at) * DAY
                begin(name, version, actor=JONAS if at % 2 else MINA, reason=reason)

    def _version(self, name: str, number: int) -> ModelVersion:
        return self._registry.resolve(f"{name}:{number}")

    def _drift(self) -> None:
        """Two days of live columns of the credit model, in whose course applicants grow older."""
        version = self._version("credit-default", 3)
        manifest = self._registry.manifest(version)
        self._registry.monitoring.add_profile(*_stored(profile := reference(manifest.signature)))
        live = LiveCounts(profile, manifest.signature)
        for hour in range(48, 0, -1):
            rows = applicants(600, hour, len(APPLICANT), older=1.2 if hour <= 20 else 0.0)
            live.add({"X": rows}, answers(rows), len(rows))
            window = ColumnWindow(
                name="credit-default", version=3, digest=version.digest, release=2, replica="models-1",
                profile=digest_of(profile), at=NOW - hour * HOUR, seconds=30.0, rows=len(rows), seen=2400,
                counts=live.drain(), id=f"{hour}",
            )  # fmt: skip
            self._registry.monitoring.add_windows([window])
        for day in range(2):
            drawn = windows(
                3, 30, seconds=60, start=NOW - (1.6 - day) * DAY, seed=day, accuracy=0.88, rated=0.4
            )
            self._add(drawn, "credit-default", version, 2)
        self._clock.at = NOW - 4 * MINUTE
        MonitorDriver(self._registry, "models-1", clock=self._clock, slot_s=HOUR).turn()
        with self._registry.catalog.database.engine.begin() as connection:
            # Those of a server are random, and decide the order of what was raised at once.
            connection.execute(text(_NAMED_BY_SUBJECT))
        ended = alarm(
            "churn", id="churn-1", subject="calls", version=2, began_at=NOW - 9 * DAY,
            raised_at=NOW - 9 * DAY + HOUR, ended_at=NOW - 8 * DAY,
            text="`calls` higher by 0.3 standard deviations", value=0.22,
        )  # fmt: skip
        alerts = {state.key: state for state in map(_alert, self._registry.monitoring.alarms())}
        states = {key: msgspec.json.encode(state).decode() for key, state in alerts.items()}
        self._registry.monitoring.save("monitor", {}, [], [ended])
        self._registry.monitoring.save("alerts", states, [], [])

    def _canary(self) -> None:
        """A canary of the churn model at its second step, with traffic and feedback on both sides."""
        begin, change = self._registry.releases.begin, self._registry.releases.change
        self._clock.at = NOW - 50 * MINUTE
        plan = Plan(mode="canary", steps=(5, 25, 50, 100), hold_s=1800, min_requests=2000)
        release = begin("churn", 4, plan, actor=MINA, reason="calls of the last week count more")
        self._clock.at = NOW - 12 * MINUTE
        reason = "no harm seen in 2,140 requests"
        step = EventDraft(kind="step", actor=ROLLOUT, reason=reason, from_="5 %", to="25 %")
        release = change(release, step=1, event=step)
        sides = ((3, 6.0, 0.88), (4, 2.0, 0.9))
        for number, rate, accuracy in sides:
            drawn = windows(
                number, rate, seconds=699, start=NOW - 700, seed=3, error=0.0008, accuracy=accuracy, rated=0.2
            )
            self._add(drawn, "churn", self._version("churn", number), release.number)

    def _log(self) -> None:
        """Some applications of the last minutes, one of which failed; of some the truth is known."""
        version, count = self._version("credit-default", 3), 30
        rows = applicants(count, 11, len(APPLICANT), older=1.2)
        log = LogMaker(self._folder / "models" / "log")
        ids = [f"application-{4117 + number}" for number in range(count)]
        asked = chunk(
            ids,
            served=served(self._registry.manifest(version).signature, version.name, version.version),
            release=2,
            inputs={"X": rows},
            outputs=answers(rows),
            ended_at=[NOW - 20 * (count - number) for number in range(count)],
            latencies_s=[0.0004 + 0.00002 * (number % 7) for number in range(count)],
            statuses=[500 if number == 21 else 200 for number in range(count)],
            errors=["RunFailed" if number == 21 else "" for number in range(count)],
        )
        log.add(asked)
        for number in range(0, count, 4):
            log.label(ids[number], "repaid" if number % 3 else "late", at=NOW - 5.0, model=version.name)
        log.close()

    def _runs(self) -> None:
        """A night's runs over data sets: one has ended well but for drift, one goes on, two have not."""
        columns = [(name, 0.38 if name == "age" else 0.0011 * at) for at, name in enumerate(APPLICANT, 1)]
        nothing = hub_runs.facts(parts_done=0, rows=0, scored=0, rows_per_s=0.0)
        reports = (
            (hub_runs.FINISHED, "credit-default", 3, 9 * HOUR, 411.6, hub_runs.finished(columns)),
            (hub_runs.LOST, "ticket-topics", 3, 5 * HOUR, 260.0, hub_runs.facts(parts_done=31)),
            (hub_runs.FAILED, "fraud-screen", 2, 4 * HOUR, 2.4, nothing),
            (hub_runs.RUNNING, "churn", 3, 2 * MINUTE, 118.0, hub_runs.facts()),
        )
        ends = {
            hub_runs.FINISHED: {"state": "finished"},
            hub_runs.FAILED: {"state": "failed", "text": _NO_COLUMN},
        }
        for id, name, number, ago_s, seconds, facts in reports:
            version = self._version(name, number)
            values = {"name": name, "version": number, "digest": version.digest, "actor": "airflow"}
            for at in (0.0, seconds):
                self._clock.at = NOW - ago_s + at
                last = ends.get(id, {}) if at else {}
                self._registry.runs.save(
                    hub_runs.run(id, host="batch-1.bank.example", batch=facts, **values, **last)
                )

    def _go_by(self, seconds: float) -> None:
        self._clock.at += seconds

    def _add(self, drawn: list[Any], name: str, version: ModelVersion, release: int) -> None:
        labels = dict(zip("abc", LABELS[name], strict=True))
        self._registry.traffic.add_windows(
            [
                msgspec.structs.replace(
                    window,
                    name=name,
                    release=release,
                    digest=version.digest,
                    replica="models-1",
                    id=f"{name}-{version.version}-{window.at}",
                    outputs={labels[label]: count for label, count in window.outputs.items()},
                )
                for window in drawn
            ]
        )

    def _replicas(self) -> None:
        for number, silent in enumerate((2.0, 1.0, 2.0, 9 * MINUTE), 1):
            self._clock.at = NOW - silent
            models = [self._loaded("credit-default", 3), self._loaded("churn", 3), self._loaded("churn", 4)]
            if number == 2:
                models = [self._loaded("ticket-topics", 3), self._loaded("ticket-topics", 4)]
            if number == 3:
                reason = (
                    "golden samples of `fraud-screen`, output `probabilities`, row 3: expected 0.412 within "
                    "rtol 1e-05, atol 1e-06, found 0.398"
                )
                models = [self._loaded("fraud-screen", 3, state="failed", reason=reason, requests=0)]
                models.append(self._loaded("fraud-screen", 2))
            self._registry.fleet.beat(_replica(number, tuple(models)))

    def _scan(self) -> None:
        """Scan the packages of the servers against a feed that has something against two of them."""
        (subject, components), *_ = map(server_subject, self._registry.fleet.replicas())
        advisories = {
            ("PyPI", "uvicorn"): _advisory("CVE-2026-90412", "uvicorn", "0.55.1", severity="high", score=7.5),
            ("PyPI", "numpy"): _advisory("PYSEC-2026-1207", "numpy", "2.4.9"),
        }
        pypi = FeedState(
            kind="osv", name="PyPI/all.zip", date="2026-11-30T02:11:08Z", entries=18_204, covers=("PyPI",)
        )
        ends = FeedState(
            kind="end-of-life",
            name="python.json",
            date="2026-11-29T00:00:00Z",
            date_of="feed",
            covers=("python",),
        )
        cycles = {"python": (Cycle(product="python", name="3.11", ends="2027-10-31"),)}
        feeds = Feeds(states=(pypi, ends), advisories=advisories, cycles=cycles)
        made = scan(subject, components, feeds, datetime.datetime.fromtimestamp(NOW - HOUR, datetime.UTC))
        record_scan(self._registry.attachments, [subject.digest], made, actor=MINA)

    def _loaded(self, name: str, number: int, **changes: Any) -> ReplicaModel:
        version = self._version(name, number)
        values = {
            "name": name, "version": number, "digest": version.digest, "state": "ready", "executes": "no",
            "purpose": version.purpose, "owner": version.owner, "input_format": "rows",
            "requests": self._random.randrange(4_000, 90_000), "last_request_at": "2026-11-30T11:59:58Z",
        }  # fmt: skip
        return ReplicaModel(**{**values, **changes})


_NAMED_BY_SUBJECT = """
UPDATE alarms SET id = json_extract(body, '$.subject'),
  body = json_set(body, '$.id', json_extract(body, '$.subject'))
"""
_NO_COLUMN = "input `payments.parquet`: expected column `new_device`, found `amount`, `hour`, `distance_km`"
_DESCRIPTIONS = {
    "credit-default": "Whether an applicant pays a loan back, from what the application says.",
    "churn": "Whether a customer is about to leave, from the last quarter.",
    "fraud-screen": "Which card payments a person should look at.",
    "ticket-topics": "What a support ticket is about.",
    "parcel-delay": "Whether a parcel comes when we said.",
}


def _replica(number: int, models: tuple[ReplicaModel, ...]) -> Replica:
    packages = {"lading-ml": "0.1.0", "numpy": "2.4.6", "onnxruntime": "1.32.0", "uvicorn": "0.54.0"}
    return Replica(
        id=f"models-{number}", host=f"models-{number}.bank.example", address=f"http://models-{number}.bank.example:8000",
        os="debian 13", kernel="6.12.57", arch="x86_64", cpus=4, memory_bytes=8_589_934_592, python="3.11.9",
        software="lading 0.1.0", lading="0.1.0", packages=packages, onnxruntime="1.32.0",
        providers=("CPUExecutionProvider",), fingerprint=FINGERPRINTS[0].id, image=None,
        started_at="2026-11-24T08:00:00Z", models=models, settings={"workers": "2", "grpc_port": "9000"},
    )  # fmt: skip


def _advisory(id: str, name: str, fixed: str, **more: Any) -> tuple[Advisory, ...]:
    events = (Event(introduced="0"), Event(fixed=fixed))
    affected = (Affected(ecosystem="PyPI", name=name, ranges=(events,)),)
    return (Advisory(id=id, summary=f"What a fault of {name} lets a caller do", affected=affected, **more),)


def _alert(each: Alarm) -> AlertState:
    state = firing(
        model=each.name, kind=each.kind, subject=each.subject, text=each.text, version=each.version,
        release=each.release, severity="page", route="risk-on-call",
    )  # fmt: skip
    sent_at = each.raised_at + MINUTE
    return msgspec.structs.replace(
        state, since=each.raised_at, began_at=each.began_at, sent_at=sent_at, is_sent=True
    )


def _stored(profile: Profile) -> tuple[str, bytes]:
    return digest_of(profile), encode(profile)


def applicants(count: int, seed: int, columns: int, *, older: float = 0.0) -> np.ndarray[Any, Any]:
    """Draw rows of plausible numbers; `older` moves the first column, in standard deviations."""
    rng = np.random.default_rng(seed)
    drawn = [
        rng.normal(41 + 13 * older, 13, count).clip(18, 95),
        rng.lognormal(10.4, 0.6, count) / 1000,
        rng.beta(2, 6, count),
        rng.lognormal(1, 1.2, count) * (rng.random(count) > 0.35),
        rng.poisson(1.4, count),
        rng.geometric(0.015, count),
    ]
    return np.stack(drawn[:columns], axis=1).astype(np.float32)


def answers(rows: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return what a model might answer to rows, by their first column."""
    first = 1 / (1 + np.exp(-(rows[:, 0] - 30) / 12))
    probabilities = np.stack([first, (1 - first) * 0.6, (1 - first) * 0.4], axis=1).astype(np.float32)
    return {"label": probabilities.argmax(axis=1).astype(np.int64), "probabilities": probabilities}


def reference(signature: Signature) -> Profile:
    """Return the profile of the training data."""
    rows = applicants(8000, 1, len(APPLICANT))
    return measure(signature, {"X": rows}, answers(rows))
