"""Sentences of verdicts, alarms, reasons and refusals in the language of a page, known by their wording."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lading.errors import LadingError
from lading.hub.sentences import TEMPLATES, known, say, say_reason, translated
from lading.hub.words import translator
from lading.monitor.wording import change_of, describe_decay
from lading.profile.measure import measure
from lading.release import Plan
from lading.rollout import by_hand
from lading.rollout.by_hand import Meant
from lading.signature import Signature, Tensor
from support.hub_pages import HubPages
from support.hub_scene import scene
from support.live_windows import CANARY, LIVE, SHADOW, verdict, windows
from support.rollout_processes import two_versions

KOREAN = translator("ko")
JUDGED = {
    "equal": lambda: verdict(windows(2, 50)),
    "failing": lambda: verdict(windows(2, 50, error=0.03)),
    "slow": lambda: verdict(windows(2, 50, slowdown=2.0)),
    "other answers": lambda: verdict(windows(2, 50, outputs=(0.3, 0.3, 0.4))),
    "less right": lambda: verdict(windows(2, 50, accuracy=0.75)),
    "early": lambda: verdict(windows(2, 10, seconds=20), age=20),
    "few requests": lambda: verdict(windows(2, 2, seconds=40), age=40),
    "every number": lambda: verdict(windows(2, 50), gates={"min_value_agreement": 0.9}),
    "no traffic": lambda: verdict([], age=4000),
    "live is gone": lambda: verdict(windows(2, 50), live=windows(1, 50, start=LIVE[0].at - 200)),
    "at once": lambda: verdict(windows(2, 50), live=[], plan=Plan(mode="canary", steps=(100,))),
    "shadow": lambda: verdict(windows(2, 50, agreement=0.99), plan=SHADOW),
    "shadow that differs": lambda: verdict(windows(2, 50, agreement=0.3), plan=SHADOW),
    "shadow, early": lambda: verdict(windows(2, 5, seconds=9, agreement=0.99), plan=SHADOW, age=9),
    "steps": lambda: verdict(windows(2, 50), plan=Plan(mode="canary", steps=(20, 50), gates=CANARY.gates)),
}


def is_korean(text: str) -> bool:
    """Return whether what is left of a text without names and numbers is Korean."""
    bare = re.sub(r"`[^`]*`|\b(p99|p50|ms|e)\b", "", text)
    return re.search("[가-힣]", bare) is not None and re.search("[A-Za-z]{2,}", bare) is None


@pytest.mark.parametrize("name", JUDGED)
def test_every_reason_of_a_verdict_is_known(name):
    reasons = JUDGED[name]().reasons
    assert reasons
    assert [reason for reason in reasons if not is_korean(translated(KOREAN, reason) or "")] == []


def test_what_the_monitor_finds_is_known():
    signature = Signature(
        inputs=(
            Tensor(name="age", dtype="float32", shape=("batch",)),
            Tensor(name="region", dtype="string", shape=("batch",)),
        ),
        outputs=(Tensor(name="label", dtype="int64", shape=("batch",)),),
    )
    rng = np.random.default_rng(0)
    inputs = {
        "age": rng.normal(40, 10, 4000).astype(np.float32),
        "region": np.array(["n", "s"] * 2000, object),
    }
    profile = measure(signature, inputs, {"label": np.zeros(4000, np.int64)})
    age, region, *_ = profile.columns()
    texts = [describe_decay(0.93, 0.8), describe_decay(0.93, 0.8, "region = n")]
    cells = len(age.counts)
    for counts in (
        [0, 0, *[0] * (cells - 3), 500],  # all at the upper end
        [0, 0, 500, *[0] * (cells - 3)],
        [500, *age.counts[1:]],
        [0, 500, *age.counts[2:]],
        [0, 0, 300, *[0] * (cells - 4), 300],
        [0, 0, *[0] * ((cells - 2) // 2), 500, *[0] * (cells - 3 - (cells - 2) // 2)],
    ):
        change = change_of(age, counts)
        assert change is not None
        texts.append(f"`age` {change.text}")
    change = change_of(region, [0, 0, 900, 100])
    assert change is not None
    texts += [f"`region` {change.text}", "`age: range`: 24 % of the rows fail this input check"]
    assert [text for text in texts if not is_korean(translated(KOREAN, text) or "")] == []
    # A column is no sentence, whatever its name is.
    assert "`no evidence`" in (translated(KOREAN, "`no evidence` higher by 2 standard deviations") or "")


def test_what_is_refused_is_known(tmp_path):
    with two_versions(str(tmp_path / "registry")) as registry:
        refused: list[LadingError] = []

        def asked(do, *arguments, **more):
            with pytest.raises(LadingError) as error:
                do(registry, "iris", *arguments, actor="ben", reason="", **more)
            refused.append(error.value)

        asked(by_hand.promote, Meant(None, None), to="25")
        registry.releases.begin("iris", 1, Plan(mode="live"), actor="ann")
        asked(by_hand.pause, Meant(1, None))
        asked(by_hand.roll_back, 1)
        release = registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 25)), actor="ann")
        asked(by_hand.pause, Meant(1, None))
        asked(by_hand.pause, Meant(2, release.epoch + 3))
        asked(by_hand.promote, Meant(2, release.epoch), to="50")
        asked(by_hand.resume, Meant(2, release.epoch))
        with pytest.raises(LadingError) as missing:
            registry.resolve("iris:9")
        refused.append(missing.value)
    unknown = [error.message for error in refused if not is_korean(translated(KOREAN, error.message) or "")]
    assert unknown == []


def test_templates_do_not_stand_in_each_others_way():
    for template in TEMPLATES:
        values = dict.fromkeys(re.findall(r"\{(\w+)\}", template), "7")
        sentence = known(template.format(**values))
        assert sentence is not None, template
        assert sentence.template == template


def test_what_is_not_known_is_marked_as_english_and_what_people_wrote_is_not():
    assert say(KOREAN, "the <disk> is full") == '<span lang="en">the &lt;disk&gt; is full</span>'
    assert say_reason(KOREAN, "새 <주제>") == '<span translate="no">새 &lt;주제&gt;</span>'
    assert say_reason(KOREAN, "no harm seen in 2,140 requests") == "요청 2,140건에서 나빠진 징후가 없었습니다"
    assert say(translator("en"), "no evidence") == "no evidence"
    assert "&lt;b&gt;" in say(KOREAN, "`<b>` higher by 2 standard deviations")


def test_a_hostile_text_is_looked_through_in_no_time():
    for text in ("`a` " * 200, "errors: candidate " + "of " * 300, "x" * 100_000, "a; " * 5000):
        assert translated(KOREAN, text) is None


@pytest.mark.slow
def test_a_korean_page_says_what_its_verdict_and_its_alarms_say_in_korean(tmp_path):
    with scene(tmp_path) as (registry, _):
        pages = HubPages(registry)
        for address in (
            "/",
            "/models/churn/release",
            "/models/credit-default/monitoring?since=7d",
            "/alarms",
        ):
            page = pages.get(address, **{"accept-language": "ko"}).text
            assert 'lang="en"' not in page.replace('hreflang="en"', "").replace(
                '<a href="/language/en" lang="en"', ""
            ), address
            assert "standard deviations" not in page, address
