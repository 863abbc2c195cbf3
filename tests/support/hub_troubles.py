"""What goes wrong, on top of the scene: servers, runs, releases and alarms that say so in lading's own words.

Errors are raised leaves, as servers and runs write them down; what another library has said in them is
`FOREIGN`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lading.alarms import Alarm
from lading.errors import (
    BatchChanged,
    EnvironmentFailed,
    GateNotMet,
    GoldenMismatch,
    InputMissing,
    LadingError,
    MemoryShort,
    ModelCodeFailed,
    ModelCrashed,
    OperatorUnsupported,
    OutputInUse,
    RegistryUnavailable,
    SignatureMismatch,
    SizeMismatch,
)
from lading.evidence import Check, Evidence
from lading.hub.sentences import ALARMS
from lading.registry import Registry
from lading.release import EventDraft, Plan
from lading.replica import Replica, ReplicaModel
from support import hub_runs
from support.hub_rows import alarm
from support.hub_scene import COLUMNS, DAY, FINGERPRINTS, HOUR, JONAS, NOW, Clock
from support.live_windows import verdict, windows
from support.predictions import LogMaker, chunk, served

OF_ONNX_RUNTIME = "Fatal error: com.example:Rotate(-1) is not a registered function/op"
OF_MODEL_CODE = "KeyError: the tariff table is empty"
OF_UV = "No solution found when resolving dependencies"
OF_S3 = "An error occurred (SlowDown) when calling the PutObject operation"
FOREIGN = (OF_ONNX_RUNTIME, OF_MODEL_CODE, OF_UV, OF_S3)
"""What others have said: it stays as they said it, marked as English."""

OF_PEOPLE = (
    *("waits for the new tariffs", "Bad answers for business customers"),
    *("first release", "retrained on November", "new topics", "calls of the last week count more"),
    "waits for the agents' feedback",
)
"""Reasons that people gave, in whatever language they did."""


def errors() -> Sequence[LadingError]:
    """Return errors of servers that could not load a version."""
    model = "model `model.onnx`"
    return (
        GoldenMismatch(
            "golden samples of `fraud-screen`, output `probabilities`, row 3",
            expected="0.412 within rtol 1e-05, atol 1e-06",
            found="0.398",
            hint="the expected outputs are from scikit-learn 1.5.2; labels differing: 0 in 16 rows, "
            "largest error 0.014",
        ),
        MemoryShort(
            "loading `churn:4`",
            expected="812 MB of free memory",
            found="503 MB",
            hint="give the server more memory, or have it replace the old version (`--swap replace`)",
        ),
        ModelCrashed(
            "`churn:2`",
            expected="a model that runs to its end",
            found="that loading the model ended with SIGSEGV (11) in ONNX Runtime 1.32.0",
            hint="no process survives this; export the model without the operator that causes it",
        ),
        OperatorUnsupported(model, expected="operators of ONNX Runtime 1.32.0", found=OF_ONNX_RUNTIME),
        SignatureMismatch(
            "output `label`", expected="`int64 [batch]`", found="`float32 [batch]` in the model"
        ),
        EnvironmentFailed("environment `0f1e2d3c4b5a`", expected="uv to build it", found=OF_UV),
        RegistryUnavailable("the registry", expected="an answer", found="connection refused"),
        SizeMismatch("`model.onnx`", expected="3,118,204 bytes", found="3,118,000"),
        ModelCodeFailed(
            "the code of `ticket-topics`",
            expected="an answer",
            found=OF_MODEL_CODE,
            hint="the server's log has the traceback",
        ),
    )


def failures() -> Sequence[LadingError]:
    """Return errors with which runs over data sets have ended."""
    return (
        GateNotMet("rows set aside", expected="at most 1 %", found="1,241 of 9,840",
                   hint="the rows and their reasons are below `.lading/parts/rejected`"),
        GateNotMet("column `age`", expected="the distribution of the training data",
                   found="another, PSI 0.41, and 2 more"),
        InputMissing("input `payments.parquet`", expected="column `new_device`", found="`amount`, `hour`"),
        OutputInUse("output `/data/scored`", expected="no other run", found="one that is at work",
                    hint="wait for it, or write to another folder"),
        BatchChanged("the inputs", expected="those of the manifest", found="others, or other ranges"),
        RegistryUnavailable("store `s3://scored`", expected="to read and write it", found=OF_S3),
    )  # fmt: skip


REASONS = (
    "column `savings`: expected `float32`, found no value",
    "column `age`: expected `float32`, found `unknown`",
    "column `age`: expected a number, found `n/a`",
    "column `income`: expected `true` or `false`, found another text",
    "column `income`: expected `int8`, found 300, which is beyond it",
    "column `debt_ratio`: expected a text in UTF-8, found other bytes",
    "the row: expected `months_at_address`, found no such key",
    "column `open_loans`: expected `float32`, found a list at `[2]`",
)
RULES = (
    "age range: 18 to 95 (stated)",
    "income range: at most 250000 (profile)",
    "savings missing: a value (stated)",
    "open_loans integer: a whole number (profile)",
    "debt_ratio at_most: at most the value of `income` (stated)",
    "months_at_address set: one of 1, 2, 3, … (stated)",
)


def add_troubles(registry: Registry, clock: Clock, folder: Path) -> None:
    """Let go wrong what can, on top of the scene."""
    for at, replica in enumerate(_replicas()):
        clock.at = NOW - at
        registry.fleet.beat(replica)
    clock.at = NOW
    _runs(registry, clock)
    _releases(registry, clock)
    registry.monitoring.save("monitor", {}, [], list(_alarms()))
    _log(registry, folder)
    version = registry.resolve("parcel-delay:1")
    checks = [Check(name, "failed", each.expected or "", each.found or "") for name, each in _checks()]
    registry.record(
        Evidence(
            bundle=version.digest,
            name=version.name,
            fingerprint=FINGERPRINTS[0],
            checks=(Check("format", "passed"), *checks, Check("batch", "skipped")),
            numbers={"latency_p50_ms": 0.4},
            measured_at="2026-11-29T09:10:00Z",
        )
    )


def _checks() -> Iterator[tuple[str, LadingError]]:
    yield from zip(("golden", "memory", "session", "opset", "signature"), errors(), strict=False)


def _replicas() -> Iterator[Replica]:
    names = list(COLUMNS)
    for number, error in enumerate(errors()):
        # A server reports the message, with the hint where it has room for it.
        reason = str(error) if number % 2 else error.message
        model = ReplicaModel(name=names[number % 5], version=1, state="failed", reason=reason)
        yield Replica(id=f"troubled-{number}", host=f"troubled-{number}.bank.example", models=(model,))
    states = ("loading", "warming", "draining", "unloaded")
    models = tuple(
        ReplicaModel(name=name, version=1, state=state) for name, state in zip(names, states, strict=False)
    )
    yield Replica(id="busy-1", models=models, pattern="in-image")
    alien = ReplicaModel(name="net", version=0, version_text="v2", state="AVAILABLE")
    yield Replica(
        id="http://10.0.0.7:8501", pattern="foreign", software="TensorFlow Serving", models=(alien,)
    )
    yield Replica(id="left-1", stopped_at="2026-11-30T08:00:00Z")


def _runs(registry: Registry, clock: Clock) -> None:
    version = registry.resolve("credit-default:3")
    values = {"name": version.name, "version": 3, "digest": version.digest, "actor": "airflow"}
    for at, error in enumerate(failures()):
        for ago_s, end in ((HOUR, {}), (HOUR - 70 - 400 * at, {"state": "failed", "text": str(error)})):
            clock.at = NOW - ago_s
            registry.runs.save(hub_runs.run(f"failed-{at}", **values, **end))
    report = hub_runs.facts(
        parts_done=40, rejected=800, reasons=tuple((reason, 100) for reason in REASONS),
        failed=tuple((rule, 7) for rule in RULES), drift=(), rows_per_s=900.0,
    )  # fmt: skip
    for ago_s, end in ((9 * HOUR, {}), (6.5 * HOUR, {"state": "finished", "batch": report})):
        clock.at = NOW - ago_s
        registry.runs.save(hub_runs.run("set-aside", **values, **end))
    clock.at = NOW


def _releases(registry: Registry, clock: Clock) -> None:
    """Refuse one version, roll another back with all reasons of a verdict, and have a person end a third."""
    plan = Plan(mode="canary", steps=(5, 50, 100))
    clock.at = NOW - 2 * HOUR
    release = registry.releases.begin("fraud-screen", 4, plan, actor=JONAS, reason=OF_PEOPLE[0])
    for error in (errors()[0], errors()[3]):
        reason = f"{error.message} (on models-3)"
        refused = EventDraft(kind="refused", actor="models-3", reason=reason, version=4)
        registry.releases.note(release, refused)
    registry.releases.change(release, state="refused", reason=reason, event=refused)
    for reason in ("; ".join(verdict(windows(2, 50, error=0.05)).reasons), OF_PEOPLE[1]):
        registry.releases.begin("credit-default", 4, plan, actor=JONAS)
        registry.releases.abort("credit-default", actor=JONAS, reason=reason)
    clock.at = NOW


def _alarms() -> Iterator[Alarm]:
    values = {
        "size": "1.2", "ratio": "2.4", "before": "3 %", "now": "31 %", "category": "north", "range": "2 – 4",
        "rule": "age: range", "percent": "24 %", "value": "86.2 %", "interval": "85.1–87.4 %",
        "slice": "region = north",
    }  # fmt: skip
    for at, template in enumerate(ALARMS):
        text = template.format(**values)
        if not text.startswith(("`", "accuracy")):
            text = f"`calls` {text}"
        yield alarm(
            "churn", id=f"trouble-{at}", subject="calls", version=3, text=text, began_at=NOW - DAY,
            raised_at=NOW - DAY + HOUR, ended_at=NOW - HOUR,
        )  # fmt: skip


def _log(registry: Registry, folder: Path) -> None:
    version = registry.resolve("churn:3")
    signature = registry.manifest(version).signature
    from support.hub_scene import answers, applicants

    rows = applicants(3, 5, len(COLUMNS["churn"]))
    log = LogMaker(folder / "models" / "log")
    log.add(
        chunk(
            ["first", "second", "third"],
            served=served(signature, "churn", 3),
            side="shadow",
            inputs={"X": rows},
            outputs=answers(rows),
            ended_at=[NOW - 30, NOW - 20, NOW - 10],
            warnings=[("calls: range",), (), ("tenure: missing", "calls: range")],
            statuses=[200, 503, 200],
            errors=["", "ModelNotReady", ""],
        )
    )
    log.close()
