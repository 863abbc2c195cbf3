"""The status of a model for the commands that show one, with accuracy by slices where it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from lading.cli.ui.log_options import opened_log
from lading.cli.ui.parameters import open_bundle, open_registry
from lading.errors import UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.monitor.status import MetricStatus, ModelStatus

by_option = click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help="Show accuracy by the values of this input column, too, from the prediction log.",
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
    if not by:
        return model
    named = Ref(ref.name, version=model.version) if model.version else ref
    metrics = _by_slices(named, by, (since, end), log, registry)
    return msgspec.structs.replace(model, metrics=(*model.metrics, *metrics))


def _by_slices(
    ref: Ref, by: tuple[str, ...], period: tuple[float, float], log: str | None, registry: str | None
) -> tuple[MetricStatus, ...]:
    from lading.monitor.sliced import slice_metrics

    bundle = open_bundle(ref, registry)
    if bundle.profile is None:
        hint = "slices are the cells of its profile: pack it with `--reference`"
        raise UsageError(f"`{ref}`", expected="a bundle with a profile", found="none", hint=hint)
    signature, labels = bundle.manifest.signature, bundle.manifest.labels
    with opened_log(log, registry, "lading monitor --by") as reader:
        return slice_metrics(
            reader, ref.name, signature, labels, bundle.profile, by, period, version=ref.version
        )
