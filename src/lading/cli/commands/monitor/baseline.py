"""``lading monitor baseline``: what the live columns of a model are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MomentType, log_option, opened_log, where_option
from lading.cli.ui.parameters import (
    RefType,
    current_actor,
    json_option,
    open_bundle,
    open_registry,
    registry_option,
)
from lading.errors import UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.profile import Profile
    from lading.registry import Registry


@click.command(
    "baseline",
    short_help="Set or show what live columns are compared with.",
    cls=Command,
    examples=(
        "lading monitor baseline iris",
        "lading monitor baseline iris --from-log --between 2026-11-01 2026-11-08",
        "lading monitor baseline iris --same-hours",
        "lading monitor baseline iris --remove",
    ),
)
@click.argument("ref", type=RefType())
@click.option("--from-log", is_flag=True, help="Take logged requests as the reference.")
@click.option(
    "--between",
    nargs=2,
    type=MomentType(),
    metavar="BEGIN END",
    help="Period of --from-log, such as `2w 1w`.",
)
@click.option(
    "--same-hours", is_flag=True, help="Compare each hour with the same hours of the four weeks before."
)
@where_option("Condition on the columns of `lading log query`, with --from-log.")
@click.option("--remove", is_flag=True, help="Compare with the profiles of the bundles again.")
@click.option("--actor", metavar="NAME", help="Name to record.")
@log_option
@registry_option
@json_option
def baseline(  # noqa: PLR0913 - one parameter per option
    ref: Ref,
    *,
    from_log: bool,
    between: tuple[float, float] | None,
    same_hours: bool,
    where: str,
    remove: bool,
    actor: str | None,
    log: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Show what the live columns of REF's model are compared with, or set it.

    By default that is the profile in each version's bundle: the data that it was trained on. A baseline
    replaces it for all versions of the model. Servers count by it within seconds, and tests begin again.
    """
    if from_log and remove:
        raise UsageError("`lading monitor baseline`", expected="--from-log or --remove", found="both")
    if from_log != (between is not None):
        hint = "`--from-log --between 2w 1w` takes the week before last"
        raise UsageError(
            "`lading monitor baseline`", expected="--from-log and --between together", found="one", hint=hint
        )
    with open_registry(registry) as opened:
        opened.versions(ref.name)
        if remove:
            _remove(opened, ref.name)
        elif between is not None or same_hours:
            profile = _from_log(ref, log, registry, between, where) if between is not None else None
            _set(opened, ref.name, profile, current_actor(actor), between, same_hours=same_hours)
        else:
            _show(opened, ref.name, as_json=as_json)


def _from_log(
    ref: Ref, log: str | None, registry: str | None, between: tuple[float, float], where: str
) -> Profile:
    from lading.monitor.baseline import baseline_of

    manifest = open_bundle(ref, registry).manifest
    with opened_log(log, registry, "lading monitor baseline --from-log") as reader:
        return baseline_of(reader, ref.name, manifest.signature, manifest.labels, *between, where=where)


def _set(
    registry: Registry,
    name: str,
    profile: Profile | None,
    actor: str,
    between: tuple[float, float] | None,
    *,
    same_hours: bool,
) -> None:
    from lading.alarms import Baseline
    from lading.clock import iso_time
    from lading.profile.encoding import encode

    texts = []
    if profile is not None and between is not None:
        begin, end = (iso_time(moment) for moment in between)
        texts.append(f"{profile.rows} logged rows between {begin} and {end}")
    if same_hours:
        texts.append("the same hours of former weeks, from two of them on")
    text = ", then ".join(texts)
    registry.monitoring.set_baseline(
        Baseline(
            name=name,
            profile=encode(profile).decode() if profile is not None else "",
            set_at=registry.fleet.now(),
            set_by=actor,
            text=text,
            same_hours=same_hours,
        )
    )
    printing.info(f"`{name}` is compared with {text}")


def _remove(registry: Registry, name: str) -> None:
    if registry.monitoring.remove_baseline(name):
        printing.info(f"`{name}` is compared with the profiles of its bundles again")
    else:
        printing.info(f"`{name}` has no baseline: it is compared with the profiles of its bundles")


def _show(registry: Registry, name: str, *, as_json: bool) -> None:
    from lading.clock import iso_time

    kept = registry.monitoring.baseline(name)
    if as_json:
        printing.as_json({"name": name, "baseline": kept})
    elif kept is None:
        printing.data("the profile in each version's bundle")
    else:
        printing.data(f"{kept.text}, set by {kept.set_by} at {printing.short_time(iso_time(kept.set_at))}")
