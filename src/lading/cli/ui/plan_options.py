"""The options of `lading release` that make up its plan: mode, steps, times, limits and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.parameters import FILE
from lading.errors import InvalidSetting

if TYPE_CHECKING:
    from lading.release import HeaderRule, Mode, Plan

# Options that mean nothing for a release straight to live.
_ONLY_GRADUAL = ("hold", "min_requests", "no_traffic_timeout", "rules")


class DurationType(click.ParamType):  # type: ignore[type-arg]
    """A time: ``90s``, ``5m``, ``1h``, or a number of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a time into seconds."""
        if isinstance(value, float):
            return value
        from lading.release.plan_text import read_duration

        try:
            return read_duration(str(value))
        except InvalidSetting as error:
            self.fail(f"expected {error.expected}, found {error.found}", param, ctx)


class StepsType(click.ParamType):  # type: ignore[type-arg]
    """Rising percentages: ``5,25,50,100``."""

    name = "steps"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse rising percentages."""
        if isinstance(value, tuple):
            return value
        from lading.release.plan_text import read_steps

        try:
            return read_steps(str(value))
        except InvalidSetting as error:
            self.fail(f"expected {error.expected}, found {error.found}", param, ctx)


class RuleType(click.ParamType):  # type: ignore[type-arg]
    """A header, its value and the side it selects: ``x-team=qa:candidate``."""

    name = "rule"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str, str]:
        """Parse a rule."""
        if isinstance(value, tuple):
            return value
        # From the right, because the value of a header may contain colons.
        match, _, side = str(value).rpartition(":")
        header, equals, content = match.partition("=")
        if not header or not equals or side not in ("live", "candidate"):
            self.fail(f"expected `HEADER=VALUE:candidate` or `…:live`, found `{value}`", param, ctx)
        return header.strip().lower(), content, side


_OPTIONS = (
    click.option(
        "--canary",
        type=StepsType(),
        is_flag=False,  # Together with `flag_value`, the value is optional.
        flag_value="5,25,50,100",
        metavar="PERCENTAGES",
        help="Send it a growing share of requests, judged at each step; without a value: 5,25,50,100.",
    ),
    click.option("--shadow", is_flag=True, help="Send it copies of requests; callers never see its answers."),
    click.option(
        "--ab",
        type=click.IntRange(1, 99),
        is_flag=False,
        flag_value="50",
        metavar="PERCENT",
        help="Send it a fixed share of requests until you decide; without a value: 50.",
    ),
    click.option(
        "--hold", type=DurationType(), metavar="TIME", help="Minimum duration of a step.  [default: 60s]"
    ),
    click.option(
        "--min-requests",
        type=click.IntRange(min=0),
        metavar="N",
        help="Minimum number of requests to the candidate per step.  [default: 500]",
    ),
    click.option(
        "--no-traffic-timeout",
        type=DurationType(),
        metavar="TIME",
        help="Roll back if the candidate gets no request for this long.  [default: 1h]",
    ),
    click.option(
        "--gates",
        type=FILE,
        help="TOML file of limits, checked now; those under [live] are checked against live traffic.",
    ),
    click.option(
        "--rule",
        "rules",
        type=RuleType(),
        multiple=True,
        metavar="HEADER=VALUE:SIDE",
        help="Send requests with this header to `candidate` or `live`, whatever the share; repeatable.",
    ),
)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with the options that `plan_of` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def plan_of(options: dict[str, Any], live_gates: dict[str, float]) -> Plan:
    """Return the plan that the options describe; without one of the three modes, straight to live."""
    from lading.release import Plan

    mode, steps = _mode(options)
    if mode == "live":
        for name in _ONLY_GRADUAL:
            if options[name] not in (None, ()):
                flag = "--" + name.removesuffix("s" if name == "rules" else "").replace("_", "-")
                raise click.UsageError(f"`{flag}` needs `--canary`, `--shadow` or `--ab`")
        return Plan(mode="live")
    limits = {
        "hold_s": options["hold"],
        "min_requests": options["min_requests"],
        "no_traffic_timeout_s": options["no_traffic_timeout"],
    }
    # Only what was on the command line: the defaults are those of `Plan`.
    chosen = {name: value for name, value in limits.items() if value is not None}
    return Plan(mode=mode, steps=steps, gates=live_gates, rules=_rules(options["rules"]), **chosen)


def _mode(options: dict[str, Any]) -> tuple[Mode, tuple[int, ...]]:
    modes = [f"`--{name}`" for name in ("canary", "shadow", "ab") if options[name]]
    if len(modes) > 1:
        raise click.UsageError(f"expected one way to release, found {' and '.join(modes)}")
    if options["canary"]:
        return "canary", options["canary"]
    if options["ab"]:
        return "ab", (options["ab"],)
    return ("shadow", ()) if options["shadow"] else ("live", ())


def _rules(rules: tuple[tuple[str, str, Any], ...]) -> tuple[HeaderRule, ...]:
    from lading.release import HeaderRule

    return tuple(HeaderRule(header, equals, side) for header, equals, side in rules)
