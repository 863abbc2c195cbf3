"""alerts.toml: what it may say, and what is said about a file that says something else."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.monitor.alert_rules import AlertRules, Route, duration_s
from lading.monitor.alerts import AlertRule

GOOD = """
[[alert]]
name = "iris drifts"
when = "drift"
model = "iris"
for = "10m"
severity = "page"
route = "ops"
repeat = "4h"

[[alert]]
name = "anything"
when = ["decay", "input-checks", "release"]
route = "log"

[route.ops]
webhook = "https://example.com/hook"
secret_file = "/run/secrets/hook"

[route.team]
alertmanager = "http://127.0.0.1:9093"

[route.log]
log = true
"""


def test_a_file_states_rules_and_routes(tmp_path):
    path = tmp_path / "alerts.toml"
    path.write_text(GOOD)
    stated = AlertRules.read(path)
    assert stated.rules == (
        AlertRule(
            name="iris drifts",
            when=("drift",),
            route="ops",
            model="iris",
            for_s=600.0,
            repeat_s=14_400.0,
            severity="page",
        ),
        AlertRule(name="anything", when=("decay", "input-checks", "release"), route="log"),
    )
    assert stated.routes == {
        "ops": Route(name="ops", webhook="https://example.com/hook", secret_file="/run/secrets/hook"),
        "team": Route(name="team", alertmanager="http://127.0.0.1:9093"),
        "log": Route(name="log", log=True),
    }


def test_a_file_states_where_the_hub_is():
    assert AlertRules.parse('hub = "https://hub.example.com/"').hub == "https://hub.example.com"


def test_an_empty_file_is_no_alert():
    assert AlertRules.parse("") == AlertRules()


ALERT = '[[alert]]\nname = "x"\nwhen = "drift"\nroute = "r"\n'
ROUTE = "[route.r]\nlog = true\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[alert", "`F`: expected TOML, found another form"),
        ("[[alerts]]\nname = 'x'", "`F`: expected one of `alert`, `route`, `hub`, found `alerts`"),
        ("alert = 1", "`alert` in `F`: expected a list of tables"),
        ("[alert]\nname = 'x'", "each alert begins with a line `[[alert]]`"),
        ("route = 1", "`route` in `F`: expected tables"),
        ("[route]\nr = 1", "`route` in `F`: expected tables"),
        (ALERT, "`route` of alert `x` in `F`: expected the name of a route, found `r`"),
        (ALERT + "[route.q]\nlog = true", "expected one of `q`, found `r`"),
        (ALERT + ALERT + ROUTE, "alerts in `F`: expected different names, found `x` twice"),
        (ALERT.replace('"x"', "1") + ROUTE, "`name` of alert 1 in `F`: expected a text, found `1`"),
        (ALERT.replace("drift", "drifts") + ROUTE, "`when` of alert `x` in `F`: expected one of `drift`"),
        (ALERT.replace('"drift"', "[]") + ROUTE, "`when` of alert `x`"),
        (ALERT.replace('"drift"', "[1]") + ROUTE, "`when` of alert `x`"),
        (ALERT + 'after = "1m"\n' + ROUTE, "alert `x` in `F`: expected one of `name`, `when`"),
        (ALERT + 'repeats = "1m"\n' + ROUTE, "did you mean `repeat`?"),
        (ALERT + 'for = "10 min"\n' + ROUTE, "`for` of alert `x` in `F`: expected a time such as `30s`"),
        (ALERT + "for = 10\n" + ROUTE, "found `10`"),
        (ALERT + 'repeat = "0s"\n' + ROUTE, "`repeat` of alert `x`"),
        (ALERT + 'severity = "high"\n' + ROUTE, "`severity` of alert `x` in `F`: expected one of `page`"),
        (ALERT + 'model = ""\n' + ROUTE, "`model` of alert `x`"),
        (ALERT + "[route.r]\n", "route `r` in `F`: expected one of `webhook`, `alertmanager` and `log`"),
        (ALERT + ROUTE + 'webhook = "http://a"\n', "found `webhook` and `log`"),
        (ALERT + "[route.r]\nlog = 1\n", "`log` of route `r` in `F`: expected `true`, found `1`"),
        ('hub = "hub.example.com"\n', "`hub` in `F`: expected an address that begins with `http://`"),
        (ALERT + '[route.r]\nwebhook = "example.com"\n', "expected an address that begins with `http://`"),
        (ALERT + '[route.r]\nalertmanager = "ftp://a"\n', "`alertmanager` of route `r`"),
        (ALERT + ROUTE + 'secret_file = "a"\n', "`secret_file` of route `r` in `F`"),
        (ALERT + '[route.r]\nemail = "a@b"\n', "route `r` in `F`: expected one of `webhook`"),
    ],
)
def test_a_file_that_says_something_else_is_refused_in_a_sentence_with_its_path(tmp_path, text, sentence):
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(InvalidSetting) as refused:
        AlertRules.read(path)
    assert sentence in str(refused.value).replace(str(path), "F")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (1 << 20) + b"\n"])
def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path, data):
    path = tmp_path / "alerts.toml"
    path.write_bytes(data)
    with pytest.raises(InvalidSetting, match=r"alerts\.toml"):
        AlertRules.read(path)


def test_a_missing_file_is_refused_with_a_hint(tmp_path):
    with pytest.raises(InvalidSetting, match="no such file") as refused:
        AlertRules.read(tmp_path / "alerts.toml")
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0.0), ("30s", 30.0), ("1.5m", 90.0), ("4h", 14_400.0), ("2d", 172_800.0)]
)
def test_times_have_a_unit(text, seconds):
    assert duration_s("x", text) == seconds


@pytest.mark.parametrize("kind", ["estimated", "missing", "log-dropped"])
def test_a_kind_that_nothing_raises_is_refused_instead_of_never_firing(tmp_path, kind):
    path = tmp_path / "alerts.toml"
    path.write_text(f'[[alert]]\nname = "a"\nwhen = "{kind}"\nroute = "here"\n[route.here]\nlog = true\n')
    with pytest.raises(InvalidSetting, match="`drift`") as caught:
        AlertRules.read(path)
    assert kind in str(caught.value)
