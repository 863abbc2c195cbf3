"""What monitoring might know of a model: a credit model whose applicants grow older, with drawn rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from lading.alarms import Alarm
from lading.monitor.status import (
    CheckCount,
    ColumnPoint,
    ColumnStatus,
    MetricPoint,
    MetricStatus,
    ModelStatus,
)
from lading.profile import MISSING, Profile
from lading.profile.live import LiveCounts
from lading.profile.measure import measure
from lading.signature import Array, Signature, Tensor

UNTIL = 1_796_018_400.0  # 2026-11-30 06:00 UTC
HOUR = 3600.0
HOURS = 24
SINCE = UNTIL - HOURS * HOUR
DIGEST = "sha256:7d5f3c1a9be2740e66f0c1d29b8a4e03a1b2c3d4e5f60718293a4b5c6d7e8f90"
DRIFT_HOUR, MISSING_HOUR = 9, 14
_LIVE_ROWS = 900
_PURPOSES = ("car", "furniture", "home repair", "education", "business", "travel", "medical bills", "other")
_SHARES = (0.3, 0.2, 0.15, 0.1, 0.1, 0.06, 0.05, 0.04)
_CHANGES = {
    "age": (DRIFT_HOUR, "higher by 0.4 standard deviations"),
    "purpose": (DRIFT_HOUR + 0.5, "values that the reference does not have: 0 % -> 3 %"),
    "external_score": (MISSING_HOUR, "missing values: 1.9 % -> 13 %"),
    "probabilities[repaid]": (DRIFT_HOUR + 1, "lower by 0.35 standard deviations"),
    "probabilities[defaulted]": (DRIFT_HOUR + 1, "higher by 0.35 standard deviations"),
    "confidence of probabilities": (DRIFT_HOUR + 1, "lower by 0.25 standard deviations"),
    "label": (DRIFT_HOUR + 1.5, "category `defaulted`: 7.2 % -> 14 %"),
}


def _tensor(name: str, dtype: str, *sizes: int, columns: tuple[str, ...] = ()) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=("batch", *sizes), columns=columns)


SIGNATURE = Signature(
    (
        *(_tensor(name, "float32") for name in ("age", "income", "debt_ratio", "external_score", "savings")),
        *(_tensor(name, "int64") for name in ("open_loans", "months_at_address")),
        _tensor("owns_home", "bool"),
        *(_tensor(name, "string") for name in ("purpose", "remark", "applied_at", "branch")),
    ),
    (
        _tensor("label", "string"),
        _tensor("probabilities", "float32", 2, columns=("repaid", "defaulted")),
    ),
)


def rows(count: int, seed: int, *, hour: int | None = None) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draw applicants and the answers to them; those of an `hour` of live traffic change in its course."""
    rng = np.random.default_rng(seed)
    late = hour is not None and hour >= DRIFT_HOUR
    age = rng.normal(46.5 if late else 41.0, 13.0, count).clip(18, 95)
    score = rng.beta(5, 2, count) * 100
    score[rng.random(count) < (0.13 if hour is not None and hour >= MISSING_HOUR else 0.02)] = np.nan
    purpose = rng.choice(_PURPOSES, count, p=_SHARES).astype(object)
    if late:
        purpose[rng.random(count) < 0.03] = "solar panels"
    at = 1_790_000_000 if hour is None else SINCE + hour * HOUR
    times = (at + rng.random(count) * (5e6 if hour is None else HOUR)).astype("datetime64[s]")
    risk = 1 / (1 + np.exp(-rng.normal(1.2 if late else 1.6, 1.1, count)))
    inputs = {
        "age": age.astype(np.float32),
        "income": rng.lognormal(10.4, 0.7, count).astype(np.float32),
        "debt_ratio": rng.beta(2, 6, count).astype(np.float32),
        "external_score": score.astype(np.float32),
        "savings": (rng.lognormal(8, 1.6, count) * (rng.random(count) > 0.35)).astype(np.float32),
        "open_loans": rng.poisson(1.4, count).astype(np.int64),
        "months_at_address": rng.geometric(0.015, count).astype(np.int64),
        "owns_home": rng.random(count) < 0.42,
        "purpose": purpose,
        "remark": np.array(
            [f"{at:x}" + "." * size for at, size in enumerate(rng.geometric(0.02, count))], object
        ),
        "applied_at": np.array([str(time) for time in times], object),
        "branch": np.array([f"branch {number}" for number in rng.integers(1, 12, count)], object),
    }
    outputs = {
        "label": np.where(risk > 0.5, "repaid", "defaulted").astype(object),
        "probabilities": np.stack([risk, 1 - risk], axis=1).astype(np.float32),
    }
    return inputs, outputs


@functools.cache
def reference() -> Profile:
    """Return the profile of the training data."""
    return measure(SIGNATURE, *rows(12_000, 0))


def psi(reference: Array, live: Array) -> float:
    """Return the population stability index of two sets of counts."""
    before, now = ((counts + 0.5) / (counts + 0.5).sum() for counts in (reference, live))
    return float(((now - before) * np.log(now / before)).sum())


@functools.cache
def _columns(*, drifted: bool) -> tuple[ColumnStatus, ...]:
    counter, hours = LiveCounts(reference(), SIGNATURE), []
    for hour in range(HOURS):
        inputs, outputs = rows(_LIVE_ROWS, 1 + hour, hour=hour if drifted else None)
        inputs.pop("branch")
        counter.add(inputs, outputs, _LIVE_ROWS)
        hours.append([np.array(counts) for counts in counter.drain()])
    inputs_first = len(reference().inputs)
    return tuple(
        _column(at, [counts[at] for counts in hours], is_output=at >= inputs_first, drifted=drifted)
        for at in range(len(hours[0]))
    )


def credit_status(*, drifted: bool = True, **changes: Any) -> ModelStatus:
    """Return a day of the model, during which it drifts if `drifted`; no `branch` is ever sent."""
    status = ModelStatus(
        name="credit",
        version=4,
        digest=DIGEST,
        release=7,
        owner="risk team",
        since=SINCE,
        until=UNTIL,
        reference="reference data",
        reference_rows=12_000,
        rows=HOURS * _LIVE_ROWS,
        seen=3 * HOURS * _LIVE_ROWS,
        replicas=("web-1", "web-2"),
        alpha=0.01,
        columns=_columns(drifted=drifted),
        metrics=_metrics(drifted=drifted),
        checks=(
            CheckCount(column="external_score", rule="missing", failures=1_912),
            CheckCount(column="purpose", rule="set", failures=403),
            CheckCount(column="age", rule="range", failures=12),
        ),
        alarms=_alarms() if drifted else (),
    )
    return msgspec.structs.replace(status, **changes)


def _column(at: int, hours: list[Array], *, is_output: bool, drifted: bool) -> ColumnStatus:
    profile = list(reference().columns())[at]
    total, before = np.sum(hours, axis=0), np.array(profile.counts)
    began, change = _CHANGES.get(profile.name, (0.0, "")) if drifted else (0.0, "")
    counted = int(total.sum())
    return ColumnStatus(
        name=profile.name,
        tensor=profile.tensor,
        kind=profile.kind,
        is_output=is_output,
        cells=tuple(profile.label(cell) for cell in range(len(profile.counts))),
        bounds=profile.bounds,
        reference=profile.counts,
        live=tuple(total.tolist()),
        rows=counted,
        minimum=profile.minimum,
        maximum=profile.maximum,
        psi=psi(before, total) if counted else None,
        jensen_shannon=psi(before, total) / 8 if counted else None,
        log_e=None if not counted else 34.5 if change else 0.2 * at - 2,
        began_at=SINCE + began * HOUR + 600 if change else None,
        is_alarming=bool(change),
        is_tested=profile.kind != "timestamp",
        change=change,
        history=tuple(_point(before, counts, hour) for hour, counts in enumerate(hours) if counted),
    )


def _point(before: Array, counts: Array, hour: int) -> ColumnPoint:
    return ColumnPoint(
        at=SINCE + hour * HOUR,
        seconds=HOUR,
        rows=int(counts.sum()),
        psi=psi(before, counts),
        missing_share=float(counts[MISSING] / max(1, counts.sum())),
    )


def _metrics(*, drifted: bool) -> tuple[MetricStatus, ...]:
    rng = np.random.default_rng(3)
    late = np.arange(HOURS) >= DRIFT_HOUR
    level = np.where(late & drifted, 0.862, 0.913) + rng.normal(0, 0.006, HOURS)
    slices: Mapping[str, tuple[float, int]] = {
        "region = North": (0.904, 2100),
        "region = South": (0.889, 1830),
        "region = East": (0.781 if drifted else 0.902, 640),
        "region = Islands": (0.9, 90),
    }
    return (
        _metric("accuracy", level, 0.02, labelled=4_660, delay_s=7_800.0, alarms=drifted),
        _metric("estimated accuracy", level + 0.004, 0.012, labelled=21_600),
        *(
            MetricStatus(
                kind="accuracy",
                slice=name,
                value=value,
                lower=value - 1.0 / count**0.5,
                upper=min(value + 1.0 / count**0.5, 1.0),
                rows=4 * count,
                labelled=count,
                reference=0.91,
                is_alarming=value < 0.8,
            )
            for name, (value, count) in slices.items()
        ),
    )


def _metric(
    kind: str, level: Array, half: float, *, labelled: int, delay_s: float | None = None, alarms: bool = False
) -> MetricStatus:
    return MetricStatus(
        kind=kind,
        value=float(level.mean()),
        lower=float(level.mean()) - half / 3,
        upper=float(level.mean()) + half / 3,
        rows=21_600,
        labelled=labelled,
        reference=0.914,
        is_alarming=alarms,
        delay_s=delay_s,
        history=tuple(
            MetricPoint(
                at=SINCE + hour * HOUR,
                seconds=HOUR,
                rows=0 if hour == 4 else 200,
                value=float(value),
                lower=float(value) - half,
                upper=min(float(value) + half, 1.0),
            )
            for hour, value in enumerate(level)
        ),
    )


def alarm(kind: str, subject: str, text: str, *, hour: float = DRIFT_HOUR, **changes: Any) -> Alarm:
    """Return an open alarm that began some hours into the period, and was raised half an hour later."""
    opened = Alarm(
        id=f"{kind} {subject}",
        name="credit",
        version=4,
        digest=DIGEST,
        release=7,
        kind=kind,  # type: ignore[arg-type]
        subject=subject,
        began_at=SINCE + hour * HOUR + 600,
        raised_at=SINCE + hour * HOUR + 2_400,
        value=0.2,
        text=text,
    )
    return msgspec.structs.replace(opened, **changes)


def _alarms() -> tuple[Alarm, ...]:
    over = alarm("input-checks", "age", "`age: range`: 4.6 % of the rows fail this input check", hour=2)
    columns = [
        alarm("drift", name, f"`{name}` {text}", hour=hour, acknowledged_by="maria" if name == "age" else "")
        for name, (hour, text) in _CHANGES.items()
    ]
    return (
        *columns,
        alarm("decay", "", "accuracy over labelled rows: 91.4 % -> 86.2 %", hour=16),
        alarm("slice", "region = East", "accuracy where `region = East`: 91.0 % -> 78.1 %", hour=17),
        msgspec.structs.replace(over, ended_at=SINCE + 5 * HOUR),
    )


def column(name: str = "x", **changes: Any) -> ColumnStatus:
    """Return one column of four bins that looks like its reference."""
    plain = ColumnStatus(
        name=name,
        tensor=name,
        kind="number",
        is_output=False,
        cells=("missing", "unseen", "≤ 1", "1 – 2", "2 – 4", "> 4"),
        bounds=(1.0, 2.0, 4.0),
        reference=(0, 0, 250, 250, 250, 250),
        live=(0, 0, 26, 24, 25, 25),
        rows=100,
        minimum=0.0,
        maximum=5.0,
        psi=0.01,
        jensen_shannon=0.002,
        log_e=-1.0,
    )
    return msgspec.structs.replace(plain, **changes)


def small_status(*columns: ColumnStatus, **changes: Any) -> ModelStatus:
    """Return the status of a model with these columns, of which nothing else is known."""
    status = ModelStatus(
        name="iris",
        version=3,
        digest=DIGEST,
        release=2,
        owner="",
        since=SINCE,
        until=UNTIL,
        reference="reference data",
        reference_rows=1_000,
        rows=100,
        seen=100,
        replicas=("web-1",),
        alpha=0.01,
        columns=columns or (column(),),
    )
    return msgspec.structs.replace(status, **changes)
