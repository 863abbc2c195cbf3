"""``lading release`` and ``lading rollback``: which version is wanted, and how it gets there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    NameType,
    RefType,
    actor_here,
    actor_option,
    json_option,
    open_registry,
    reason_option,
    registry_option,
)
from lading.cli.ui.plan_options import plan_of, plan_options
from lading.errors import UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry
    from lading.release import Plan, Release


@click.command(
    "release",
    short_help="Make a version live: at once, or step by step.",
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
@actor_option
@reason_option
@registry_option
@json_option
def release(ref: Ref, registry: str | None, as_json: bool, **options: Any) -> None:
    """Release the version that REF names; every server that follows the registry does the rest.

    It has to be proved first: by evidence that the registry holds, else by `lading verify`, which then runs
    here. A canary goes up by itself while live traffic shows no harm, and back if it does. Copies in shadow
    and A/B shares are compared until you say `lading rollout promote`.
    """
    if ref == Ref(ref.name):
        hint = f"`lading list {ref.name}` lists the versions"
        raise UsageError(
            f"release of `{ref}`", expected=f"a version, as `{ref.name}:2`", found="none", hint=hint
        )
    gates, live_gates = _gates(options["gates"])
    plan = plan_of(options, live_gates)
    actor = actor_here(options["actor"])
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        current = opened.current(version.name)
        if plan.mode == "live" and current is not None and _is_live(current, version.version):
            _say(opened, current, None, as_json=as_json)
            printing.remark(f"`{version.ref}` is live already; nothing was changed")
            return
        _check_fits(current, version, plan, actor)
        evidence, held = _proved(opened, version, gates, current)
        done = opened.release(
            version.name,
            version.version,
            plan,
            actor=actor,
            runtime=evidence.fingerprint.id,
            reason=options["reason"],
        )
        _say(opened, done, evidence, as_json=as_json)
        _remark_release(opened, done, evidence, held, superseded=current)
        if plan.mode == "live" and live_gates:
            printing.remark(
                "the gates of `[live]` judged nothing: they need `--canary`, `--shadow` or `--ab`"
            )


@click.command(
    "rollback",
    short_help="Make the version live that was live before.",
    cls=Command,
    examples=(
        "lading rollback iris",
        "lading rollback iris --to 1 --reason 'complaints from support'",
    ),
)
@click.argument("name", type=NameType())
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Version to go back to.  [default: what was live before]",
)
@actor_option
@reason_option
@registry_option
@json_option
def rollback(
    name: str, to: int | None, registry: str | None, as_json: bool, actor: str | None, reason: str
) -> None:
    """Go back to a version of NAME, at once: to what was live before, or away from a candidate.

    Rolling back is a new release, which names the runtime that the bundle was proved on. One that was never
    proved on this runtime is verified here first, and refused if it does not hold.
    """
    from lading.release import rollback_target

    with open_registry(registry) as opened:
        history = opened.releases(name)
        target = to if to is not None else rollback_target(history)
        current = history[0] if history else None
        if current is not None and target is not None and _is_live(current, target):
            _say(opened, current, None, as_json=as_json)
            printing.remark(f"`{name}:{target}` is live already; nothing was changed")
            return
        evidence = None
        # What is live beside a candidate is running now: nothing may stand in the way of going back to it.
        if target is not None and (current is None or target != current.live):
            evidence = _proved_here(opened, opened.resolve(Ref(name, version=target)))
        runtime = evidence.fingerprint.id if evidence is not None else None
        done = opened.rollback(name, to=target, actor=actor_here(actor), runtime=runtime, reason=reason)
        _say(opened, done, evidence, as_json=as_json)
        left = current.candidate or current.live if current is not None else None
        instead = f" in place of `{name}:{left}`" if left is not None else ""
        printing.remark(
            f"`{name}:{done.live}` is live again{instead}; {_proof_words(opened, done, evidence)}"
        )
        printing.remark(f"next: lading history {name}")


def _gates(path: Path | None) -> tuple[Gates | None, dict[str, float]]:
    if path is None:
        return None, {}
    from lading.gates import Gates
    from lading.verdict import read_live

    return Gates.read(path), read_live(path)


def _is_live(current: Release, version: int) -> bool:
    return not current.is_open and current.live == version


def _check_fits(current: Release | None, version: ModelVersion, plan: Plan, actor: str) -> None:
    """Refuse at once what the registry would refuse after the proof, which takes seconds."""
    from lading.release import begin

    begin(current, version.name, version.version, plan, actor=actor, at="", runtime=None)


def _proved(
    registry: Registry, version: ModelVersion, gates: Gates | None, current: Release | None
) -> tuple[Evidence, tuple[str, ...]]:
    from lading.rollout.preflight import check_gates, proof_anywhere

    with printing.busy(f"proving {version.ref}"):
        evidence = proof_anywhere(registry, version)
    if gates is None:
        return evidence, ()
    live = None
    if current is not None and current.live is not None:
        live = registry.resolve(Ref(version.name, version=current.live))
    return evidence, check_gates(gates, version, evidence, live)


def _proved_here(registry: Registry, version: ModelVersion) -> Evidence:
    from lading.rollout.preflight import proof_here

    with printing.busy(f"proving {version.ref}"):
        return proof_here(registry, version)


def _say(registry: Registry, release: Release, evidence: Evidence | None, *, as_json: bool) -> None:
    from lading.cli.ui.release_view import release_row, release_table

    if not as_json:
        release_table([release])
        return
    version = release.candidate or release.live
    known = registry.resolve(Ref(release.name, version=version))
    said = {"ref": str(known.ref), "digest": known.digest, **release_row(release)}
    if evidence is not None:
        proof = {"runtime": evidence.fingerprint.id, "fingerprint": evidence.fingerprint}
        said["proof"] = {**proof, "measured_at": evidence.measured_at}
    printing.as_json(said)


def _remark_release(
    registry: Registry,
    release: Release,
    evidence: Evidence,
    held: tuple[str, ...],
    *,
    superseded: Release | None,
) -> None:
    proof = _proof_words(registry, release, evidence)
    gates = f"; gates met: {', '.join(held)}" if held else ""
    if superseded is not None and superseded.is_open:
        printing.remark(
            f"release {superseded.number} (`{release.name}:{superseded.candidate}`) is superseded by this one"
        )
    if not release.is_open:
        printing.remark(f"`{release.name}:{release.live}` is live; {proof}{gates}")
        printing.remark(f"next: lading history {release.name}")
        return
    what = f"gets {release.weight_percent:g} % of requests"
    if release.plan.mode == "shadow":
        what = "gets copies of requests"
    beside = f"`{release.name}:{release.candidate}` {what} beside `{release.name}:{release.live}`"
    printing.remark(f"{beside}; {proof}{gates}")
    if registry.lease_holder("rollout") is None:
        printing.remark("nothing judges it yet: start `lading serve` or `lading rollout run`")
    printing.remark(f"next: lading rollout watch {release.name}")


def _proof_words(registry: Registry, release: Release, evidence: Evidence | None) -> str:
    from lading.rollout.preflight import machine

    if evidence is not None:
        return f"proved on {machine(evidence.fingerprint)} ({evidence.fingerprint.id})"
    version = registry.resolve(Ref(release.name, version=release.candidate or release.live))
    known = next(
        (one for one in registry.evidence(version.digest) if one.fingerprint.id == release.runtime), None
    )
    if known is None:
        return "it serves already" if release.runtime is None else f"proved on runtime {release.runtime}"
    return f"proved on {machine(known.fingerprint)} ({release.runtime})"
