"""The status of a model for the commands that show one, with accuracy by the slices of its bundle.

What the bundle states is left out with a sentence if it cannot be known; what `--by` asks for is an error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from lading.cli.ui.log_options import opened_log
from lading.cli.ui.parameters import open_bundle, open_registry
from lading.errors import LadingError, UsageError, mid_sentence
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.monitor.status import MetricStatus, ModelStatus
    from lading.registry import Registry

by_option = click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help="Show accuracy by the values of this input column, from the prediction log; repeatable."
    "  [default: the slices of the bundle]",
)


def model_status(
    ref: Ref,
    since: float,
    until: float | None,
    by: tuple[str, ...],
    log: str | None,
    registry: str | None,
) -> ModelStatus:
    """Return what is known of the version that `ref` names, or of the one that answered last."""
    import msgspec

    from lading.monitor.snapshot import snapshot

    end = until or time.time()
    with open_registry(registry) as opened:
        version = opened.resolve(ref).version if ref.version or ref.tag else None
        model = snapshot(opened, ref.name, since, end, version=version)
        named = Ref(ref.name, version=model.version) if model.version else ref
        if not by:
            metrics, unknown = _stated_slices(opened, named, (since, end), log, registry)
            model = msgspec.structs.replace(model, unknown=(*model.unknown, *unknown))
    if by:
        metrics = _by_slices(named, by, (since, end), log, registry)
    own = _with_delays(model, (since, end), log, registry)
    return msgspec.structs.replace(model, metrics=(*own, *metrics))


def _with_delays(
    model: ModelStatus, period: tuple[float, float], log: str | None, registry: str | None
) -> tuple[MetricStatus, ...]:
    """Return the metrics with how late the labels came, which only a log knows."""
    import msgspec

    if not any(metric.kind == "accuracy" and metric.labelled for metric in model.metrics):
        return model.metrics
    try:
        with opened_log(log, registry, "lading monitor") as reader:
            from lading.monitor.log.labelled import median_delay_s

            delay_s = median_delay_s(reader, model.name, *period, model.version)
    # Without a log nobody knows, and the page says nothing of delays.
    except LadingError:
        return model.metrics
    return tuple(
        msgspec.structs.replace(metric, delay_s=delay_s) if metric.kind == "accuracy" else metric
        for metric in model.metrics
    )


def _stated_slices(
    opened: Registry,
    ref: Ref,
    period: tuple[float, float],
    log: str | None,
    registry: str | None,
) -> tuple[tuple[MetricStatus, ...], tuple[str, ...]]:
    """Return the metrics by the slices that the bundle states, and what is not known of them, in words."""
    what = "accuracy by slice"
    try:
        version = opened.resolve(ref)
        slices = opened.manifest(version).slices
        if not slices:
            return (), ()
        what = f"accuracy by {', '.join(f'`{name}`' for name in slices)}"
        metrics = _by_slices(version.ref, slices, period, log, registry)
    # Without a log or its libraries, or while the store is unreachable, all else is known still.
    except LadingError as error:
        return (), (f"{what}: {mid_sentence(error.message)}",)
    return metrics, () if metrics else (f"{what}: too few logged requests of this period have a label",)


def _by_slices(
    ref: Ref, by: tuple[str, ...], period: tuple[float, float], log: str | None, registry: str | None
) -> tuple[MetricStatus, ...]:
    bundle = open_bundle(ref, registry)
    if bundle.profile is None:
        hint = "slices are the cells of its profile: pack it with `--reference`"
        raise UsageError(f"`{ref}`", expected="a bundle with a profile", found="none", hint=hint)
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    with opened_log(log, registry, "lading monitor --by") as reader:
        # Below what says which extra is missing: it needs the libraries of the log as well.
        from lading.monitor.sliced import slice_metrics

        return slice_metrics(
            reader, ref.name, signature, labels, bundle.profile, by, period, version=ref.version
        )
