"""A registry whose every free text is a text of the caller: what models, servers and people write into it."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np

from lading.bundle import Bundle
from lading.bundle.writer import add_profile
from lading.evidence import Check, Evidence, Fingerprint
from lading.jobs import HookResult, Outcome
from lading.profile.encoding import digest as digest_of
from lading.profile.encoding import encode
from lading.profile.live import ColumnWindow, LiveCounts
from lading.profile.measure import measure
from lading.registry import ModelVersion, Registry
from lading.registry.records import NewVersion
from lading.release import Plan
from lading.signature import Signature, Tensor
from lading.traffic import FeedbackCounts
from lading.trust.ends import EndOfLife
from lading.trust.feeds import FeedState
from lading.trust.records import record_scan
from lading.trust.running import server_subject
from lading.trust.scan import Finding, Scan
from support.alert_states import firing
from support.bundles import linear_bundle
from support.hub_jobs import submission
from support.hub_rows import alarm, loaded, replica
from support.hub_runs import finished, run
from support.live_columns import report
from support.predictions import LogMaker, chunk, served
from support.release_processes import window

CANARY = Plan(mode="canary", steps=(5, 25, 100))
REPLICA = "host-1"
"""The id of the replica, the run and the job whose pages are asked for; another replica has the text."""


def fill(registry: Registry, folder: Path, text: str) -> None:
    """Fill a registry with two versions of `iris`, a release under way, replicas, windows and alarms."""
    bundle = named_bundle(folder, text)
    live = registry.push(bundle)
    record(registry, live, text)
    candidate = registry.catalog.versions.add(version(text), (), lambda: None)
    record(registry, candidate, text)
    registry.release("iris:1", actor=text, reason=text)
    registry.release("iris:2", CANARY, actor=text, reason=text, force=True)
    began = registry.fleet.now()
    sides = [(1, {}), (2, {text: 3})]
    registry.traffic.add_windows(
        [
            window(
                id=f"w{number}",
                version=number,
                release=2,
                at=began,
                requests=50,
                errors=errors,
                latency=(),
                outputs={text: 40, "b": 10},
                replica=text,
                feedback=FeedbackCounts(right=10, wrong=2),
            )
            for number, errors in sides
        ]
    )
    registry.fleet.lease("rollout", text, 60)
    beat(registry, text)
    scan_everything(registry, text)
    count(registry, live, text)
    alert(registry, text)
    log(folder / "registry" / "log", text)
    score(registry, live, text)
    end_job(registry, text)


def score(registry: Registry, of: ModelVersion, text: str) -> None:
    """Record runs whose report is full of `text`: one that has ended, and one that has failed."""
    report = finished([(text, 0.4), ("b", 0.001)])
    report = msgspec.structs.replace(
        report,
        engine=text,
        output=text,
        plan=text,
        reasons=((text, 3),),
        failed=((text, 2),),
        inputs=tuple(msgspec.structs.replace(each, name=text, sha256=text) for each in report.inputs),
        manifest=text,
    )
    values = {"version": of.version, "digest": of.digest, "actor": text, "host": text}
    registry.runs.save(run(REPLICA, batch=report, state="finished", **values))
    registry.runs.save(run("a/b?c", state="failed", text=text, **values))


def log(root: Path, text: str) -> None:
    """Log a request whose id, column, values, error, warning and label are `text`."""
    column = text[:200].replace("\0", "")
    signature = Signature(
        (Tensor(name="X", dtype="string", shape=("batch", 2), columns=(column, "other")),),
        (Tensor(name="label", dtype="string", shape=("batch",)),),
    )
    request = text[:200].encode("latin-1", "replace").decode("latin-1")
    made = LogMaker(root)
    made.add(
        chunk(
            [request],
            served=served(signature),
            side="candidate",
            ended_at=[time.time()],
            errors=[text],
            warnings=[(text, "b")],
            inputs={"X": np.array([[text, "x"]], object)},
            outputs={"label": np.array([text], object)},
        )
    )
    made.label(request, text, at=time.time())
    made.close()


def named_bundle(folder: Path, text: str) -> Bundle:
    """Write a bundle whose columns, classes, owner and description are `text`."""
    signature = signature_of(text)
    changes = {
        "signature": signature,
        "labels": {"0": text, "1": f"{text}1", "2": f"{text}2"},
        "description": text,
        "metrics": {"accuracy": 0.9},
    }
    bundle = linear_bundle(folder / "hostile.bundle", owner=printable(text), **changes)
    return add_profile(bundle, encode(measure(signature, rows(), {})))


def printable(text: str) -> str:
    """Return what of a text an owner may hold: a bundle with anything else is refused."""
    return "".join(char for char in text if char.isprintable())


def signature_of(text: str) -> Signature:
    """Return the signature of a linear model whose columns have `text` in their names."""
    names = tuple(f"{text}{at}" for at in range(4))
    return Signature(
        inputs=(Tensor(name="X", dtype="float32", shape=("batch", 4), columns=names),),
        outputs=(
            Tensor(name="label", dtype="int64", shape=("batch",)),
            Tensor(name="probabilities", dtype="float32", shape=("batch", 3), columns=("0", "1", "2")),
        ),
    )


def rows() -> dict[str, np.ndarray]:
    """Return random rows of the model."""
    return {"X": np.random.default_rng(0).uniform(0, 7, (400, 4)).astype(np.float32)}


def version(text: str) -> NewVersion:
    """Return a version as a catalog that somebody else has written may have it."""
    return NewVersion(
        name="iris",
        digest="sha256:" + "d" * 64,
        blob="sha256:" + "e" * 64,
        size_bytes=1000,
        purpose=text,
        owner=text,
        description=text,
        pushed_at="2026-11-30T12:00:00Z",
        metrics={text: 0.5},
    )


def record(registry: Registry, of: ModelVersion, text: str) -> None:
    """Record evidence that holds here, and some that does not elsewhere."""
    here = Fingerprint(
        lading="0.1.0", python=text, onnxruntime="1.17.0", numpy="1.26.0", os=text, arch=text, image=text
    )
    holds = Evidence(
        bundle=of.digest,
        name="iris",
        fingerprint=here,
        checks=(Check(text, "passed", text, text, text),),
        numbers={text: 3.0},
        measured_at="2026-11-30T12:00:00+00:00",
    )
    failed = (*holds.checks, Check(text, "failed", text, text, text))
    elsewhere = msgspec.structs.replace(here, python=f"{text}x")
    registry.record(msgspec.structs.replace(holds, fingerprint=elsewhere, checks=failed))
    registry.record(holds)


def end_job(registry: Registry, text: str) -> None:
    """Store a job that has failed, and whose webhook has."""
    path = f"/models/iris/tags/{quote(text[:500], safe='')}/predict"
    job = submission(REPLICA, path=path, webhook="https://hooks.example.com/")
    registry.jobs.submit(job, most_waiting=9)
    registry.jobs.claim(["iris"], 1, token="t", replica="r", ttl_s=60.0)
    registry.jobs.finish([Outcome(id=REPLICA, token="t", state="failed", reason=text)])
    registry.jobs.exchange_webhooks([], 1, 60.0)
    result = HookResult(id=REPLICA, attempts=1, delivered=False, text=text)
    registry.jobs.exchange_webhooks([result], 0, 60.0)


def scan_everything(registry: Registry, text: str) -> None:
    """Attach a scan that says nothing but `text` to the packages of each server."""
    finding = Finding(
        id=text,
        names=(text, text),
        ecosystem=text,
        component=text,
        version=text,
        summary=text,
        fixed_in=(text,),
    )
    feed = FeedState(kind="osv", name=text, date=text, covers=(text,))
    end = EndOfLife(product=text, cycle=text, component=text, ends=text, ended=True, extended=text)
    for server in registry.fleet.replicas():
        subject, _ = server_subject(server)
        made = Scan(
            subject=subject,
            scanned_at=text,
            feeds=(feed,),
            components=1,
            checked=1,
            findings=(finding,),
            ends=(end,),
            not_checked=(),
        )
        record_scan(registry.attachments, [subject.digest], made, actor=text)


def beat(registry: Registry, text: str) -> None:
    """Report a server whose model failed, one with a text for an id, and one of another kind."""
    broken = loaded(state="failed", reason=text, owner=text, purpose=text, environment=text, python=text)
    names = ("host", "address", "grpc_address", "os", "kernel", "arch", "python", "software", "lading")
    words = dict.fromkeys(names, text)
    lists = {
        "packages": {text: text},
        "settings": {text: text},
        "providers": (text,),
        "fingerprint": text,
        "image": text,
        "onnxruntime": text,
    }
    registry.fleet.beat(replica(1, broken, loaded(version=2, state=text), **words, **lists))
    registry.fleet.beat(replica(2, broken, **{**words, **lists, "id": text}))
    alien = loaded(name=text, version=0, version_text=text, state=text, reason=text)
    registry.fleet.beat(replica(3, alien, **{**words, **lists, "id": f"{text}/3", "pattern": "foreign"}))


def count(registry: Registry, of: ModelVersion, text: str) -> None:
    """Report windows of live columns, with failed checks and labels."""
    profile = registry.fetch(of).profile
    assert profile is not None
    signature = registry.manifest(of).signature
    windows = []
    for hour in (3, 2, 1):
        live = LiveCounts(profile, signature)
        live.add(rows(), {}, 400)
        counted = {"rows": 400, "seen": 800, "checked": 400, "failures": ((text, text, 7),)}
        windows.append(
            ColumnWindow(
                name="iris",
                version=of.version,
                digest=of.digest,
                release=1,
                replica=text,
                profile=digest_of(profile),
                at=time.time() - 3600.0 * hour,
                seconds=30.0,
                counts=live.drain(),
                id=f"c{hour}",
                **counted,
            )
        )
    report(registry, profile, windows)


def alert(registry: Registry, text: str) -> None:
    """Raise alarms, and an alert that fires."""
    alarms = [
        alarm(subject=text, text=f"`{text}` has drifted: {text}", acknowledged_by=text),
        alarm(id="2", subject=text, text=text, ended_at=time.time()),
    ]
    registry.monitoring.save("monitor", {}, [], alarms)
    state = firing(subject=text, text=text)
    body = msgspec.json.encode(msgspec.structs.replace(state, rule=text, route=text)).decode()
    registry.monitoring.save("alerts", {"a": body})
