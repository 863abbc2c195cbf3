"""Objects of lading as a notebook shows them: drawn by the macros of the pages, bounded, and never active."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lading.bundle import Bundle
from lading.bundle.difference import Differences, differences
from lading.bundle.writer import add_profile
from lading.client import Client, Prediction
from lading.evidence import Check, Evidence
from lading.monitor.snapshot import thinned_snapshot
from lading.monitor.status import ModelStatus
from lading.profile.encoding import encode
from lading.profile.measure import measure
from lading.release import Plan
from lading.signature import Signature, Tensor
from lading.verdict import Verdict
from support.bundles import linear_bundle
from support.live_columns import HOUR_S, draw, reference, report, window
from support.recorded_evidence import ELSEWHERE

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}\u202e\x1b[31m\ud800"
CELLS = {
    "td",
    "th",
    "tr",
    "thead",
    "tbody",
    "table",
    "svg",
    "rect",
    "title",
    "time",
    "code",
    "details",
    "summary",
}
TAGS = CELLS | {"div", "style", "p", "b", "dl", "dt", "dd", "span", "ul", "li", "section", "h3"}


class Elements(HTMLParser):
    """The elements, attributes and text of a fragment; every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.parts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())


def shown(value) -> str:
    """Return what a notebook reads of an object, and check that nothing in it is active or too much."""
    html = value._repr_html_()
    elements = Elements(html)
    assert elements.tags <= TAGS
    assert not {name for name in elements.attributes if name.startswith("on")} | (
        elements.attributes & {"style", "src", "href"}
    )
    assert not re.search(r"url\(|@import|javascript:", html)
    assert len(html.encode()) < 200_000
    # One line that says what it is, for a notebook without the extra and for a terminal.
    assert repr(value).startswith(f"{type(value).__name__}(")
    assert repr(value).isprintable()
    assert len(repr(value)) < 1_000
    return elements.text


def profiled_bundle(path: Path) -> Bundle:
    """Write a bundle of a linear model with the profile of random rows."""
    bundle = linear_bundle(path)
    rows = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    return add_profile(bundle, encode(measure(bundle.manifest.signature, {"X": rows}, {})))


def wide(columns: int) -> Signature:
    names = tuple(f"column_{number}" for number in range(columns))
    return Signature(
        inputs=(Tensor(name="X", dtype="float32", shape=("batch", columns), columns=names),),
        outputs=(Tensor(name="y", dtype="float32", shape=("batch",)),),
    )


def test_a_bundle_has_its_signature_metrics_and_origin(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle", metrics={"accuracy": 0.97}, description="By leaf")
    text = shown(bundle)
    assert text.startswith(f"Bundle iris {bundle.digest[7:19]} By leaf Owner ml@example.com")
    assert "input X float32 batch × 4 sepal_length, sepal_width, petal_length, petal_width" in text
    assert "accuracy 0.97" in text


def test_a_bundle_whose_files_have_changed_says_so(tmp_path):
    bundle = profiled_bundle(tmp_path / "iris.bundle")
    assert "reference data, 400 rows" in shown(bundle)
    changed = type(bundle).open(bundle.path)
    path = bundle.path / "profile.json"
    path.write_bytes(path.read_bytes().replace(b'"rows":400', b'"rows":401'))
    assert "The bundle cannot be read now." in shown(changed)


def test_evidence_says_whether_it_holds_and_what_failed():
    check = Check("golden", "failed", "`0.1`", "`0.2`")
    evidence = Evidence(
        bundle="sha256:" + "a" * 64,
        name="iris",
        fingerprint=ELSEWHERE,
        checks=(check, Check("files", "passed")),
        numbers={"latency_p99_ms": 1.25},
        measured_at="2026-11-30T12:00:00+00:00",
    )
    text = shown(evidence)
    assert "does not hold lading 0.1.0, ONNX Runtime 1.17.0" in text
    assert "1 check passed, 2026-11-30 12:00:00 UTC" in text
    assert "`golden`: expected `0.1`, found `0.2`" in text
    assert "latency_p99_ms 1.25" in text
    assert "holds lading" in shown(msgspec.structs.replace(evidence, checks=(Check("files", "passed"),)))


def test_a_profile_has_a_row_and_bars_for_each_column():
    profile = reference(labelled=True)
    text = shown(profile)
    assert "reference data, 5,000 rows · accuracy" in text
    assert "input age number 0 %" in text
    assert "output label category" in text
    html = profile._repr_html_()
    assert html.count("<svg") >= 2
    rows = [int(height) for height in re.findall(r'<rect [^>]*height="(\d+)"', html)]
    assert max(rows) == 24
    assert "Distribution of age" in shown(profile.column("age"))


def test_ten_thousand_columns_are_twenty_and_how_many_more():
    signature = wide(10_000)
    text = shown(signature)
    assert "column_19 and 9,980 more" in text
    assert "column_20" not in text
    inputs, outputs = draw(100, 0)
    few = measure(SIGNATURE_OF_TWO, inputs, outputs)
    profile = msgspec.structs.replace(few, inputs=few.inputs * 5_000, outputs=())
    assert shown(profile).endswith("and 9,980 more")
    tensors = tuple(Tensor(name=f"x{number}", dtype="float32", shape=("batch",)) for number in range(10_000))
    assert "x19" in shown(Signature(tensors, tensors[:1]))
    assert "input and 9,980 more" in shown(Signature(tensors, tensors[:1]))


SIGNATURE_OF_TWO = Signature(
    inputs=(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("age", "income")),),
    outputs=(
        Tensor(name="label", dtype="string", shape=("batch",)),
        Tensor(name="probabilities", dtype="float32", shape=("batch", 2)),
    ),
)


def test_a_verdict_says_what_to_do_and_how_each_reason_weighs():
    verdict = Verdict("hold", ("errors: 1 %; not enough yet: 3 %", "outputs: 0.1; no evidence"), {})
    text = shown(verdict)
    assert text.startswith("Verdict so far Not enough evidence yet.")
    assert "not enough yet · errors: 1 %" in text
    assert "not known · outputs: 0.1" in text


def test_a_status_says_what_has_drifted_and_what_is_not_known(registry):
    now = time.time()
    profile = reference()
    report(registry, profile, [window(profile, now - HOUR_S * hour, hour) for hour in range(3, 0, -1)])
    status = thinned_snapshot(registry, "iris", now - 86_400, now, most_counts=800_000, owner="ann")
    text = shown(status)
    assert "No column has been tested, so it is not known whether any has drifted." in text
    assert "age not tested yet" in text
    empty = msgspec.structs.replace(status, columns=(), rows=0, seen=0, digest="")
    assert "Nothing is known of this period." in shown(empty)
    column = msgspec.structs.replace(status.columns[0], is_alarming=True, change="mean 0 → 4")
    alarming: ModelStatus = msgspec.structs.replace(status, columns=(column, *status.columns[1:]))
    assert "columns has drifted." in shown(alarming)
    assert "age drifted" in shown(alarming)


def test_differences_name_what_callers_notice(tmp_path):
    old = linear_bundle(tmp_path / "1", metrics={"accuracy": 0.9})
    new = linear_bundle(tmp_path / "2", features=5, metrics={"accuracy": 0.8})
    changes = differences(old.manifest, new.manifest)
    text = shown(changes)
    assert "Where Before After Callers notice it input `X`, shape [batch, 4] [batch, 5] yes" in text
    assert "metric `accuracy` 0.9 0.8 no" in text
    assert "alike in everything" in shown(differences(old.manifest, old.manifest))
    assert "and 9,980 more" in shown(Differences(changes[:1] * 10_000))
    assert msgspec.json.encode(changes) == msgspec.json.encode(tuple(changes))


def test_versions_and_releases_are_facts(registry, push):
    push(metrics={"accuracy": 0.9})
    push()
    registry.tag("iris:1", "best")
    text = shown(registry.resolve("iris:1"))
    assert text.startswith("Version iris:1 ")
    assert "best A linear model for tests. Owner ml@example.com" in text
    assert "accuracy 0.9" in text
    registry.release("iris:1", actor="ann")
    release = registry.release("iris:2", Plan(mode="canary", steps=(5, 100)), actor="ann", reason="weekends")
    assert shown(release).startswith("iris · Release 2 under way canary live iris:1 candidate iris:2")
    assert "Share of traffic 5 % By ann" in shown(release)
    assert "weekends" in shown(release)


def test_a_client_shows_where_it_asks_and_asks_nothing():
    # Nothing listens there: a request would raise.
    with Client("http://user:secret@127.0.0.1:9/", model="iris", timeout_s=5) as client:
        text = shown(client)
    assert "Client of http://127.0.0.1:9 Model iris Waits for an answer 5 s" in text
    assert "secret" not in text


def test_a_prediction_is_a_row_each_and_bounded():
    values = [[0.1] * 4000] * 10_000
    text = shown(Prediction(values, {}, "iris:1", "sha256:" + "a" * 64, "r-1"))
    assert text.startswith("Prediction of iris:1 aaaaaaaaaaaa Row Answer 0 [0.1, 0.1,")
    assert "and 9,980 more" in text


def test_hostile_text_is_text_in_a_notebook(tmp_path):
    hostile = HOSTILE + "x" * 100_000
    names = (HOSTILE, "b")
    signature = Signature(
        inputs=(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=names),),
        outputs=(Tensor(name=HOSTILE, dtype="float32", shape=("batch",)),),
    )
    few = reference(100)
    column = msgspec.structs.replace(few.inputs[0], name=hostile)
    for value in (
        signature,
        msgspec.structs.replace(few, inputs=(column,)),
        Verdict("hold", (hostile,) * 3, {}),
        Prediction([hostile], {}, hostile, hostile, hostile),
    ):
        html = value._repr_html_()
        assert not {"\u202e", "\x1b", "\ud800"} & set(html)
        assert "&lt;script&gt;" in html or isinstance(value, Prediction)
        text = shown(value)
        assert "49" not in text
        html.encode("utf-8")


@pytest.mark.slow
def test_without_jinja_a_notebook_falls_back_to_one_line(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    code = f"""
import sys
sys.modules["jinja2"] = None  # As if it were not installed.
import lading
bundle = lading.Bundle.open({str(bundle.path)!r})
assert bundle._repr_html_() is None
assert repr(bundle).startswith("Bundle(iris, ")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_nothing_of_the_hub_is_imported_until_a_notebook_asks(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    code = f"""
import sys, lading
bundle = lading.Bundle.open({str(bundle.path)!r})
repr(bundle)
assert not {{"jinja2", "markupsafe", "lading.hub"}} & set(sys.modules)
assert "Bundle" in bundle._repr_html_()
# The pages' server is not needed to draw one object.
assert "starlette" not in sys.modules and "uvicorn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
