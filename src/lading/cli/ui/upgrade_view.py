"""How other versions of packages are shown: what moves, whether answers stay, what changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lading.cli.ui import printing
from lading.errors import VerificationError

if TYPE_CHECKING:
    from lading.verify.changed_locks import Change
    from lading.verify.trial import Trial
    from lading.verify.upgrade import Bisection, Upgrade


def report_upgrade(name: str, upgrade: Upgrade, *, as_json: bool) -> None:
    """Print what moves and how the model answers. Raises `VerificationError` unless the answers stay."""
    if as_json:
        printing.as_json(_upgrade_json(upgrade))
    elif upgrade.changes:
        printing.table(("package", "from", "to", "because"), _rows(upgrade))
    _raise_unless_it_stays(name, upgrade)
    printing.info(f"`{name}` {_with(upgrade.changes)} {_answers(upgrade.trial)}")


def report_bisection(name: str, bisection: Bisection, *, as_json: bool) -> None:
    """Print which packages change the answers. Raises `VerificationError` if the answers do not stay."""
    whole, alone = bisection.whole, bisection.alone
    if as_json:
        printing.as_json(_bisection_json(bisection))
    elif whole.changes:
        printing.table(("package", "from", "to", "answers"), _cause_rows(bisection))
    for moved, reason in bisection.untried:
        printing.info(f"note: {_listed(moved)} could not be tried without the others: {reason}")
    if alone is None:
        _raise_unless_it_stays(name, whole)
        printing.info(f"no package changes them: `{name}` {_with(whole.changes)} {_answers(whole.trial)}")
        return
    cause = f"{_listed(bisection.causes)} {'changes' if len(bisection.causes) == 1 else 'together change'}"
    trials = printing.plural(bisection.trials, "environment")
    if alone.stays:
        # Not refused: the bundle's promise is its tolerance.
        printing.info(f"{cause} bits only, seen in {trials}: `{name}` with it {_answers(alone)}")
        return
    if alone.answers == "fails":
        cause = f"{_listed(bisection.causes)} is why `{name}` does not run"
    else:
        cause = f"{cause} the answers of `{name}`"
    raise VerificationError(f"{cause}, seen in {trials}", found=alone.worst, hint=_rest(bisection))


def _cause_rows(bisection: Bisection) -> list[tuple[str, str, str, str]]:
    causes = {change.name for change in bisection.causes}
    rest = "" if bisection.rest is None or not bisection.rest.stays else "stay"
    # Without a cause, all moved together, and what the whole answered holds for each.
    rest = rest if causes else "stay" if bisection.whole.trial.stays else ""
    return [
        (change.name, change.old or "", change.new or "", "changed" if change.name in causes else rest)
        for change in bisection.whole.changes
    ]


def _rest(bisection: Bisection) -> str | None:
    """Return what is known of the packages that are not the cause, for a hint."""
    causes = {change.name for change in bisection.causes}
    others = [change for change in bisection.whole.changes if change.name not in causes]
    if bisection.rest is None or not others:
        return None
    if bisection.rest.stays:
        return f"with all others ({_listed(others)}) the answers stay"
    return (
        f"with the others alone ({_listed(others)}) the answers do not stay, either: {bisection.rest.worst}"
    )


def _raise_unless_it_stays(name: str, upgrade: Upgrade) -> None:
    trial = upgrade.trial
    if trial.stays:
        return
    expected = {
        "other": "the answers that it was packed with",
        "fails": "a model that runs",
        "unbuilt": "an environment of them",
    }[trial.answers]
    raise VerificationError(f"`{name}` {_with(upgrade.changes)}", expected=expected, found=trial.worst)


def _answers(trial: Trial) -> str:
    """Return how a model answers for which the promise of its bundle holds, as the end of a sentence."""
    if trial.answers == "equal" or trial.parity is None:
        return "answers the same bit for bit"
    parity = trial.parity
    flips = f", labels differing: {parity.label_flips}" if parity.label_flips else ""
    least = f"; least agreeing: {trial.worst}" if trial.worst else ""
    return f"answers within its tolerance: largest difference {parity.max_abs_error:.3g}{flips}{least}"


def _with(moved: Sequence[Change]) -> str:
    return f"with {_listed(moved)}" if moved else "with what its lock has already"


def _listed(moved: Sequence[Change]) -> str:
    return ", ".join(f"{change.name} {change.new or 'removed'}" for change in moved)


def _rows(upgrade: Upgrade) -> list[tuple[str, str, str, str]]:
    return [
        (change.name, change.old or "", change.new or "", _because(change, upgrade))
        for change in upgrade.changes
    ]


def _because(change: Change, upgrade: Upgrade) -> str:
    if not upgrade.stated:
        return "newest"
    if change.name in upgrade.stated:
        return "stated"
    return "needed" if change.old is None else "had to move"


def _upgrade_json(upgrade: Upgrade) -> dict[str, Any]:
    return {
        "holds": upgrade.trial.stays,
        "lock": upgrade.lock.digest,
        "changes": [
            {
                "name": change.name,
                "old": change.old,
                "new": change.new,
                "stated": change.name in upgrade.stated,
            }
            for change in upgrade.changes
        ],
        **_trial_json(upgrade.trial),
    }


def _bisection_json(bisection: Bisection) -> dict[str, Any]:
    return {
        **_upgrade_json(bisection.whole),
        "causes": [change.name for change in bisection.causes],
        "alone": None if bisection.alone is None else _trial_json(bisection.alone),
        "rest": None if bisection.rest is None else _trial_json(bisection.rest),
        "untried": [
            {"packages": [change.name for change in moved], "reason": reason}
            for moved, reason in bisection.untried
        ],
        "trials": bisection.trials,
    }


def _trial_json(trial: Trial) -> dict[str, Any]:
    return {"answers": trial.answers, "reason": trial.reason, "parity": trial.parity}
