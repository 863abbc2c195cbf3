"""``lading release``: make a version live, immediately or step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.difference_view import difference_line
from lading.cli.ui.parameters import (
    RefType,
    change_options,
    current_actor,
    open_registry,
    policy_option,
)
from lading.cli.ui.plan_options import plan_of, plan_options
from lading.cli.ui.release_report import print_release, proof_text
from lading.cli.ui.release_view import forecast_lines
from lading.errors import UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry
    from lading.rollout.begin_by_hand import Begun


@click.command(
    "release",
    short_help="Make a version live, immediately or step by step.",
    cls=Command,
    examples=(
        "lading release iris:2",
        "lading release iris:2 --canary 5,25,50,100 --hold 60s --min-requests 500 --gates gates.toml",
        "lading release iris:2 --shadow",
        "lading release iris:2 --ab 50 --rule x-team=qa:candidate",
    ),
)
@click.argument("ref", type=RefType())
@plan_options
@click.option(
    "--force", is_flag=True, help="Release it although callers of the live version may notice a difference."
)
@policy_option
@change_options
def release(ref: Ref, registry: str | None, as_json: bool, **options: Any) -> None:
    """Release the version that REF names; every server that follows the registry does the rest.

    The version must be proved first: by evidence in the registry or, without any, by `lading verify`, which
    is then run here. It must have the signature of the live version: other columns, dtypes, shapes, outputs
    or labels need `--force`, because callers may notice them (`lading diff` shows them all).

    A canary gets more traffic as long as live traffic shows no harm, and is rolled back if it does. A shadow
    or A/B release is compared until you run `lading rollout promote`.

    The same command once more changes nothing while that release is on its way or live; any other one takes
    its place.
    """
    if ref == Ref(ref.name):
        hint = f"`lading list {ref.name}` lists the versions"
        expected = f"a version, as in `{ref.name}:2`"
        raise UsageError(f"release of `{ref}`", expected=expected, found="none", hint=hint)
    gates, live_gates = _gates(options["gates"])
    plan = plan_of(options, live_gates)
    # Every usage error has been raised by now; from here on the registry is needed.
    actor = current_actor(options["actor"])
    from lading.rollout.begin_by_hand import Wish, begin_by_hand

    with open_registry(registry, options["policy"]) as opened:
        version = opened.resolve(ref)
        wish = Wish(version, plan, actor, options["reason"], gates, options["force"])
        begun = begin_by_hand(opened, wish, lambda version: _prove(opened, version))
        started, current = begun.release, begun.before
        if begun.evidence is None:
            print_release(opened, started, None, as_json=as_json)
            where = "on its way" if started.is_open else "live"
            printing.info(f"`{version.ref}` is {where} already; nothing was changed")
            return
        print_release(opened, started, begun.evidence, begun.differences, begun.forecast, as_json=as_json)
        if begun.differences and current is not None:
            live = f"{version.name}:{current.live}"
            printing.info(difference_line(live, str(version.ref), begun.differences))
        _print_notes(opened, begun, begun.evidence)
        if plan.mode == "live" and live_gates:
            printing.info("the gates under `[live]` have no effect without `--canary`, `--shadow` or `--ab`")


def _gates(path: Path | None) -> tuple[Gates | None, dict[str, float]]:
    if path is None:
        return None, {}
    from lading.gates import Gates
    from lading.verdict import read_live

    return Gates.read(path), read_live(path)


def _prove(registry: Registry, version: ModelVersion) -> Evidence:
    from lading.rollout.preflight import prove_anywhere

    with printing.spinner(f"proving {version.ref}"):
        return prove_anywhere(registry, version)


def _print_notes(registry: Registry, begun: Begun, evidence: Evidence) -> None:
    release, superseded, forecast = begun.release, begun.before, begun.forecast
    proof = proof_text(registry, release, evidence)
    gates = f"; gates met: {', '.join(begun.gates_met)}" if begun.gates_met else ""
    if superseded is not None and superseded.is_open:
        candidate = f"{release.name}:{superseded.candidate}"
        printing.info(f"release {superseded.number} (`{candidate}`) is superseded by this one")
    if not release.is_open:
        printing.info(f"`{release.name}:{release.live}` is live; {proof}{gates}")
        printing.info(f"next: lading history {release.name}")
        return
    traffic = f"gets {release.weight_percent:g} % of requests"
    if release.plan.mode == "shadow":
        traffic = "gets copies of requests"
    live, candidate = f"`{release.name}:{release.live}`", f"`{release.name}:{release.candidate}`"
    printing.info(f"{candidate} {traffic} beside {live}; {proof}{gates}")
    if forecast is not None:
        for line in forecast_lines(forecast, release.plan):
            printing.info(line)
    if registry.fleet.lease_holder("rollout") is None:
        printing.info("no process drives it yet: start `lading serve` or `lading rollout run`")
    printing.info(f"next: lading rollout watch {release.name}")
