"""``lading rollback``: go back to the version that was live before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.difference_view import difference_line
from lading.cli.ui.parameters import (
    NameType,
    change_options,
    current_actor,
    number_option,
    open_registry,
    policy_option,
)
from lading.cli.ui.release_report import print_release, proof_text
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence
    from lading.registry import ModelVersion, Registry
    from lading.release import Release
    from lading.rollout.by_hand import Restored


@click.command(
    "rollback",
    short_help="Undo a release that went live.",
    cls=Command,
    examples=(
        "lading rollback iris",
        "lading rollback iris --release 4 --reason 'complaints from support'",
        "lading rollback iris --to 1",
    ),
)
@click.argument("name", type=NameType())
@number_option
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Version to go back to.  [default: the one that was live before]",
)
@policy_option
@change_options
def rollback(name: str, number: int | None, to: int | None, **options: Any) -> None:
    """Undo the last release of NAME: the version that was live before it is live again at once.

    Refused if the last release did not go live, or is a rollback itself, so that a second rollback never
    takes away what the first one brought back; with `--release`, also if another release came after that one.
    `--to` goes to any version. A candidate that is still on its way is taken out by `lading rollout abort`.

    A rollback is a new release, which names the runtime that its bundle was proved on. A bundle that was
    never proved on this runtime is verified here first, and refused if it does not hold. A trust policy holds
    up no rollback: if it would not let the version in, that is said, and goes into the history.
    """
    from lading.rollout.by_hand import roll_back

    with open_registry(options["registry"], options["policy"]) as opened:
        done = roll_back(
            opened,
            name,
            number,
            to=to,
            actor=current_actor(options["actor"]),
            reason=options["reason"],
            prove=lambda version: _prove(opened, version),
        )
        _print_done(opened, done, as_json=options["as_json"])


def _print_done(registry: Registry, done: Restored, *, as_json: bool) -> None:
    name, target, current = done.release.name, done.target, done.before
    if not done.changed:
        print_release(registry, done.release, None, as_json=as_json)
        printing.info(f"`{name}:{target}` is live already; nothing was changed")
        return
    differences = _differences(registry, name, current, target)
    print_release(registry, done.release, done.evidence, differences, as_json=as_json)
    replaced = current.candidate or current.live if current is not None else None
    instead = f" in place of `{name}:{replaced}`" if replaced is not None else ""
    breaking = [difference for difference in differences or () if difference.breaks]
    if breaking and current is not None:
        printing.info(difference_line(f"{name}:{current.live}", f"{name}:{target}", breaking))
    proof = proof_text(registry, done.release, done.evidence)
    printing.info(f"`{name}:{done.release.live}` is live again{instead}; {proof}")
    # Stated after the fact: in an outage the way back must not depend on a policy.
    if objection := registry.admission.objection("load", registry.resolve(Ref(name, version=target))):
        printing.info(f"note: servers with this trust policy do not load it: {objection}")
    printing.info(f"next: lading history {name}")


def _differences(
    registry: Registry, name: str, before: Release | None, now: int
) -> tuple[Difference, ...] | None:
    """Return in what the version to go back to differs from the live one; None without one."""
    if before is None or before.live is None:
        return None
    old, new = (registry.resolve(Ref(name, version=version)) for version in (before.live, now))
    # Shown, and no more than that: nothing holds up a rollback.
    return registry.releases.check.compare(new, old, force=True)


def _prove(registry: Registry, version: ModelVersion) -> Evidence:
    from lading.rollout.preflight import prove_here

    with printing.spinner(f"proving {version.ref}"):
        return prove_here(registry, version)
