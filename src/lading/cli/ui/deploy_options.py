"""The options of ``lading deploy kubernetes`` that say how many pods serve, and what a batch run scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lading.deploy import ScaleBy, Scaling
    from lading.deploy.batch import BatchJob

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SCALING = (
    click.option(
        "--autoscale",
        "scale_by",
        type=click.Choice(["cpu", "hpa", "keda"]),
        help="What adds pods: their CPU, and with `hpa` and `keda` also lading's metrics.  [default: cpu]",
    ),
    click.option(
        "--min-replicas", type=click.IntRange(min=0), metavar="N", help="Least number of pods.  [default: 3]"
    ),
    click.option("--max-replicas", type=click.IntRange(min=1), metavar="N", help="Most pods.  [default: 10]"),
    click.option("--prometheus", default="", metavar="URL", help="With `keda`: the Prometheus that it asks."),
    click.option(
        "--wake-query",
        default="",
        metavar="QUERY",
        help="With `keda` and `--min-replicas 0`: PromQL above 0 while a pod is wanted.",
    ),
)
_BATCH = (
    click.option("--batch", is_flag=True, help="A Job that scores rows instead of a server."),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="PATH",
        help="With `--batch`: rows below /data in the pod, or at `s3://…`; repeatable.",
    ),
    click.option(
        "--output",
        default="",
        metavar="PATH",
        help="With `--batch`: where to write, below /data or `s3://…`.",
    ),
    click.option(
        "--data-claim",
        default="",
        metavar="NAME",
        help="With `--batch`: PersistentVolumeClaim that is at /data in the pod.",
    ),
    click.option(
        "--schedule",
        default="",
        metavar="CRON",
        help="With `--batch`: a CronJob, in UTC; each run writes to a folder of its own below `--output`.",
    ),
    click.argument("batch_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTION…]"),
)


@dataclass(frozen=True, kw_only=True)
class ScalingLine:
    """The options of scaling, as they were written; each field has the name of its parameter."""

    scale_by: ScaleBy | None
    min_replicas: int | None
    max_replicas: int | None
    prometheus: str
    wake_query: str

    @property
    def is_empty(self) -> bool:
        """Whether none was written."""
        return self == ScalingLine(
            scale_by=None, min_replicas=None, max_replicas=None, prometheus="", wake_query=""
        )

    def scaling(self) -> Scaling:
        """Return what they say. Raises `InvalidSetting`, and a usage error for options without `keda`."""
        from lading.deploy import Scaling

        if self.scale_by != "keda" and (self.prometheus or self.wake_query):
            raise click.UsageError("`--prometheus` and `--wake-query` need `--autoscale keda`")
        # The defaults are those of `Scaling` alone: here None says that nothing was written.
        chosen = {"by": self.scale_by, "min_pods": self.min_replicas, "max_pods": self.max_replicas}
        written: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        return Scaling(**written, prometheus=self.prometheus, wake_query=self.wake_query)


@dataclass(frozen=True, kw_only=True)
class BatchLine:
    """The options of a batch run, as they were written; each field has the name of its parameter."""

    batch: bool
    inputs: tuple[str, ...]
    output: str
    data_claim: str
    schedule: str
    batch_options: tuple[str, ...]

    def check(self) -> None:
        """Raise a usage error for options that do not go together, or that ``lading batch run`` refuses."""
        if not self.batch:
            if self.inputs or self.output or self.data_claim or self.schedule:
                raise click.UsageError(
                    "`--input`, `--output`, `--data-claim` and `--schedule` need `--batch`"
                )
            if self.batch_options:
                raise click.UsageError(
                    f"unexpected `{self.batch_options[0]}`: options of a run need `--batch`"
                )
            return
        if not self.inputs or not self.output:
            raise click.UsageError("`--batch` needs `--input` and `--output`")
        self._check_run()

    def job(self) -> BatchJob:
        """Return what they say. Raises `InvalidSetting`."""
        from lading.deploy.batch import BatchJob

        return BatchJob(
            inputs=self.inputs,
            output=self.output,
            options=self.batch_options,
            claim=self.data_claim,
            schedule=self.schedule,
        )

    def _check_run(self) -> None:
        """Have the command itself read its options: a pod would only say hours later that one is wrong."""
        from lading.cli.commands.batch.run import run

        inputs = [part for place in self.inputs for part in ("--input", place)]
        # Any folder that exists takes the place of the bundle, which will be in the pod.
        with run.make_context("run", [".", *inputs, "--output", self.output, *self.batch_options]):
            pass


def scaling_options(function: Decorated) -> Decorated:
    """Add the options of scaling to a command."""
    return _with(function, _SCALING)


def batch_options(function: Decorated) -> Decorated:
    """Add the options of a batch run to a command, and the argument that takes what follows a ``--``."""
    return _with(function, _BATCH)


def split_parameters(parameters: dict[str, Any]) -> tuple[ScalingLine, BatchLine]:
    """Return the options of scaling and of a batch run, which are taken out of `parameters`."""
    scaling, batch = (
        {name: parameters.pop(name) for name in kind.__dataclass_fields__}
        for kind in (ScalingLine, BatchLine)
    )
    return ScalingLine(**scaling), BatchLine(**batch)


def _with(function: Decorated, options: tuple[Callable[[Decorated], Decorated], ...]) -> Decorated:
    # Decorators are applied from the last to the first.
    for option in reversed(options):
        function = option(function)
    return function
