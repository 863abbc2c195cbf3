"""``alerts.toml``: which findings make alerts, and where they go. Sends nothing, decides nothing.

hub = "https://hub.example.com"

[[alert]]
name = "iris drifts"
when = "drift"
model = "iris"
for = "10m"
route = "ops"

[route.ops]
webhook = "https://example.com/hook"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lading.errors import InvalidSetting, mid_sentence
from lading.gates import unknown_key
from lading.monitor.alerts import EVERYTHING, KINDS, SEVERITIES, AlertRule

_TABLES = ("alert", "route", "hub")
_ALERT_KEYS = ("name", "when", "model", "for", "severity", "route", "repeat")
_SINK_KEYS = ("webhook", "alertmanager", "log")
_ROUTE_KEYS = (*_SINK_KEYS, "secret_file")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_MOST_BYTES = 1 << 20


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts go: exactly one of ``webhook``, ``alertmanager`` (both addresses) and ``log``.

    ``secret_file`` has the key by which requests to a webhook are signed.
    """

    name: str
    webhook: str = ""
    alertmanager: str = ""
    log: bool = False
    secret_file: str = ""


class AlertRules(msgspec.Struct, frozen=True, kw_only=True):
    """What one file states: its rules in their order, its routes by name, and where people find the hub.

    ``hub`` is the address that alerts lead to, empty without one.
    """

    rules: tuple[AlertRule, ...] = ()
    routes: dict[str, Route] = {}
    hub: str = ""

    @classmethod
    def read(cls, path: Path | str) -> AlertRules:
        """Read a file of TOML; raises `InvalidSetting`, which names the path and what is wrong there."""
        where = f"`{path}`"
        # Read whole: a file that somebody is writing is refused as no TOML, and not taken by halves.
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            reason = f"{error.strerror or error}".lower()
            hint = "name the file of the alerts, or leave the option out for none"
            raise InvalidSetting(where, expected="a TOML file", found=reason, hint=hint) from None
        if len(data) > _MOST_BYTES:
            raise InvalidSetting(where, expected=f"at most {_MOST_BYTES} bytes", found=f"{len(data)}")
        try:
            return cls.parse(data.decode(), where=where)
        except UnicodeDecodeError:
            hint = "write the file in UTF-8"
            raise InvalidSetting(where, expected="TOML", found="bytes not in UTF-8", hint=hint) from None

    @classmethod
    def parse(cls, text: str, *, where: str = "`alerts.toml`") -> AlertRules:
        """Read TOML text; `where` names it in errors."""
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            reason = mid_sentence(str(error).replace("'", "`"))
            raise InvalidSetting(where, expected="TOML", found=f"another form: {reason}") from None
        for key in tables:
            if key not in _TABLES:
                raise unknown_key(where.strip("`"), key, _TABLES)
        hub = tables.get("hub", "")
        if "hub" in tables:
            _require_url(f"`hub` in {where}", hub)
        routes = _routes(where, tables.get("route", {}))
        rules = _rules(where, tables.get("alert", []), routes)
        return cls(rules=rules, routes=routes, hub=hub.rstrip("/"))


def _routes(where: str, tables: Any) -> dict[str, Route]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        hint = 'a route is written `[route.ops]`, with a `webhook = "https://…"` below'
        raise InvalidSetting(f"`route` in {where}", expected="tables", found="another value", hint=hint)
    return {name: _route(f"route `{name}` in {where}", name, table) for name, table in tables.items()}


def _route(where: str, name: str, table: Mapping[str, Any]) -> Route:
    _refuse_unknown(where, table, _ROUTE_KEYS)
    # `log = false` is as good as no `log`.
    sinks = [key for key in _SINK_KEYS if table.get(key, False) is not False]
    if len(sinks) != 1:
        expected = "one of `webhook`, `alertmanager` and `log`"
        hint = "make a route, and an alert, for each of them" if sinks else "say where its alerts go"
        count = " and ".join(f"`{key}`" for key in sinks) or "none"
        raise InvalidSetting(where, expected=expected, found=count, hint=hint)
    # Beside the check of the address nothing is asked of it here: it may be unreachable while this starts.
    for key in ("webhook", "alertmanager"):
        if key in table:
            _require_url(f"`{key}` of {where}", table[key])
    if table.get("log", True) is not True:
        raise InvalidSetting(f"`log` of {where}", expected="`true`", found=_shape(table["log"]))
    secret = table.get("secret_file", "")
    if not isinstance(secret, str) or (secret and "webhook" not in table):
        expected = "the path of a file, beside a `webhook`"
        raise InvalidSetting(f"`secret_file` of {where}", expected=expected, found=_shape(secret))
    return Route(name=name, **table)


def _require_url(where: str, value: Any) -> None:
    url = urlsplit(value) if isinstance(value, str) else None
    if url is None or url.scheme not in ("http", "https") or not url.netloc:
        expected = "an address that begins with `http://` or `https://`"
        raise InvalidSetting(where, expected=expected, found=_shape(value))


def _rules(where: str, tables: Any, routes: Mapping[str, Route]) -> tuple[AlertRule, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        hint = "each alert begins with a line `[[alert]]`, in double brackets"
        raise InvalidSetting(f"`alert` in {where}", expected="a list of tables", found="one", hint=hint)
    rules: dict[str, AlertRule] = {}
    for number, table in enumerate(tables, 1):
        rule = _rule(where, number, table, routes)
        if rule.name in rules:
            hint = "the name is what people see, and what the alert is known by"
            problem = f"`{rule.name}` twice"
            raise InvalidSetting(f"alerts in {where}", expected="different names", found=problem, hint=hint)
        rules[rule.name] = rule
    return tuple(rules.values())


def _rule(where: str, number: int, table: Mapping[str, Any], routes: Mapping[str, Route]) -> AlertRule:
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        problem = _shape(name) if name is not None else "none"
        raise InvalidSetting(f"`name` of alert {number} in {where}", expected="a text", found=problem)
    where = f"alert `{name}` in {where}"
    _refuse_unknown(where, table, _ALERT_KEYS)
    severity = table.get("severity")
    if severity is not None and severity not in SEVERITIES:
        raise InvalidSetting(f"`severity` of {where}", expected=_one_of(SEVERITIES), found=_shape(severity))
    route = table.get("route")
    if not isinstance(route, str) or route not in routes:
        expected = _one_of(routes) if routes else "the name of a route"
        hint = "a route is written `[route.NAME]` in the same file"
        problem = _shape(route) if route is not None else "none"
        raise InvalidSetting(f"`route` of {where}", expected=expected, found=problem, hint=hint)
    model = table.get("model", EVERYTHING)
    if not isinstance(model, str) or not model:
        expected = "the name of a model, or `*` for all"
        raise InvalidSetting(f"`model` of {where}", expected=expected, found=_shape(model))
    return AlertRule(
        name=name,
        when=_kinds(where, table.get("when")),
        route=route,
        model=model,
        for_s=duration_s(f"`for` of {where}", table.get("for", "0s")),
        repeat_s=duration_s(f"`repeat` of {where}", table.get("repeat", "4h"), least_s=1.0),
        severity=severity,
    )


def _kinds(where: str, when: Any) -> tuple[str, ...]:
    # One kind is what most rules are about, and is written without brackets.
    kinds = [when] if isinstance(when, str) else when
    known = (*KINDS, EVERYTHING)
    if not isinstance(kinds, list) or not kinds:
        problem = _shape(when) if when is not None else "none"
        raise InvalidSetting(f"`when` of {where}", expected=_one_of(known), found=problem)
    for kind in kinds:
        if kind not in known:
            raise InvalidSetting(f"`when` of {where}", expected=_one_of(known), found=_shape(kind))
    return tuple(kinds)


def duration_s(where: str, value: Any, *, least_s: float = 0.0) -> float:
    """Return the seconds of a text such as "30s", "10m", "4h" or "2d"; raises `InvalidSetting`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = float(match[1]) * _UNITS_S[match[2]] if match is not None else -1.0
    if seconds < least_s:
        expected = "a time such as `30s`, `10m`, `4h` or `2d`"
        raise InvalidSetting(where, expected=expected, found=_shape(value))
    return seconds


def _refuse_unknown(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            # `unknown_key` quotes what it is passed.
            error = unknown_key("alerts", key, known)
            raise InvalidSetting(where, expected=error.expected, found=error.found, hint=error.hint)


def _one_of(names: Any) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in names)


def _shape(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str | int | float) else "another value"
