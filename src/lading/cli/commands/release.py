"""``lading release``: make a version live, immediately or step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.difference_view import difference_line
from lading.cli.ui.parameters import RefType, change_options, current_actor, open_registry
from lading.cli.ui.plan_options import plan_of, plan_options
from lading.cli.ui.release_report import print_release, proof_text
from lading.cli.ui.release_view import forecast_lines
from lading.errors import UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry
    from lading.release import Plan, Release
    from lading.rollout.estimate import Forecast


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
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        current = opened.releases.current(version.name)
        if current is not None and _is_done(current, version, plan):
            print_release(opened, current, None, as_json=as_json)
            where = "on its way" if current.is_open else "live"
            printing.info(f"`{version.ref}` is {where} already; nothing was changed")
            return
        _check_plan(current, version, plan, actor)
        differences = _compare(opened, version, current, force=options["force"])
        evidence, gates_met = _prove(opened, version, gates, current)
        # Before anything has changed: what fails here has begun nothing.
        forecast = _outlook(opened, plan, current)
        started = opened.releases.begin(
            version.name,
            version.version,
            plan,
            actor=actor,
            runtime=evidence.fingerprint.id,
            reason=options["reason"],
            # What was judged and compared is what is replaced: proving has taken seconds.
            after=current.number if current is not None else 0,
            force=options["force"],
        )
        print_release(opened, started, evidence, differences, forecast, as_json=as_json)
        if differences and current is not None:
            printing.info(difference_line(f"{version.name}:{current.live}", str(version.ref), differences))
        _print_notes(opened, started, evidence, gates_met, superseded=current, forecast=forecast)
        if plan.mode == "live" and live_gates:
            printing.info("the gates under `[live]` have no effect without `--canary`, `--shadow` or `--ab`")


def _gates(path: Path | None) -> tuple[Gates | None, dict[str, float]]:
    if path is None:
        return None, {}
    from lading.gates import Gates
    from lading.verdict import read_live

    return Gates.read(path), read_live(path)


def _is_done(current: Release, version: ModelVersion, plan: Plan) -> bool:
    """Return whether this release was begun before: sent once more, it would begin its evidence again."""
    from lading.rollout.by_hand import is_live

    if plan.mode == "live":
        return is_live(current, version.version)
    return current.is_open and current.candidate == version.version and current.plan.is_same(plan)


def _check_plan(current: Release | None, version: ModelVersion, plan: Plan, actor: str) -> None:
    """Raise what the registry would raise for this release, before the proof, which takes seconds."""
    from lading.release import begin

    # The time and the runtime do not matter for the check.
    begin(current, version.name, version.version, plan, actor=actor, at="", runtime=None)


def _compare(
    registry: Registry, version: ModelVersion, current: Release | None, *, force: bool
) -> tuple[Difference, ...]:
    """Return in what a version differs from the live one; raise if callers may notice it, unless `force`."""
    if current is None or current.live is None:
        return ()
    live = registry.resolve(Ref(version.name, version=current.live))
    return registry.releases.check.compare(version, live, force=force)


def _prove(
    registry: Registry, version: ModelVersion, gates: Gates | None, current: Release | None
) -> tuple[Evidence, tuple[str, ...]]:
    """Return evidence that the version holds, and the names of the gates that it meets."""
    from lading.rollout.preflight import check_gates, prove_anywhere

    with printing.spinner(f"proving {version.ref}"):
        evidence = prove_anywhere(registry, version)
    if gates is None:
        return evidence, ()
    live = None
    if current is not None and current.live is not None:
        live = registry.resolve(Ref(version.name, version=current.live))
    return evidence, check_gates(gates, version, evidence, live)


def _print_notes(
    registry: Registry,
    release: Release,
    evidence: Evidence,
    gates_met: tuple[str, ...],
    *,
    superseded: Release | None,
    forecast: Forecast | None,
) -> None:
    proof = proof_text(registry, release, evidence)
    gates = f"; gates met: {', '.join(gates_met)}" if gates_met else ""
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


def _outlook(registry: Registry, plan: Plan, before: Release | None) -> Forecast | None:
    """Return how long a release will take, by the traffic of the one before; None if it is live at once."""
    from lading.clock import unix_time
    from lading.rollout.estimate import PROFILE_S, outlook

    if before is None or plan.mode == "live":
        return None
    now = registry.fleet.now()
    since = max(now - PROFILE_S, unix_time(before.step_started_at))
    windows = registry.traffic.windows(before.name, before.number, since)
    return outlook(plan, [window for window in windows if window.version == before.live], now, since)
