"""Rows of text run in groups of like length: memory follows their lengths, and answers keep their order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.runtime.onnx.text_rows import length_groups, row_lengths, run_groups

SMALL = 2**16


def test_the_length_of_a_row_is_that_of_all_its_texts():
    titles, words = np.array(["ab", ""], object), np.array([["c", "de"], ["", "f"]], object)
    assert row_lengths([titles]) == [2, 0]
    assert row_lengths([titles, words]) == [5, 1]


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=50))
def test_groups_hold_each_row_once_and_waste_at_most_half(lengths):
    groups = length_groups(lengths)
    if not groups:
        assert len(lengths) * max(lengths) <= max(2 * sum(lengths), SMALL)
        return
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    for group in groups:
        of_group = [max(64, lengths[row]) for row in group]
        assert max(of_group) < 2 * min(of_group)


def test_answers_come_back_in_the_order_of_the_rows():
    inputs = {"x": np.array(["a" * length for length in (5, 90_000, 3, 200, 100_000)], object)}
    seen = []

    def run(part):
        seen.append([len(text) for text in part["x"]])
        return {"n": np.array(seen[-1]), "first": np.array([text[:1] for text in part["x"]], object)}

    answers = run_groups(run, inputs, length_groups(row_lengths([inputs["x"]])))
    assert seen == [[3, 5], [200], [90_000, 100_000]]
    assert answers["n"].tolist() == [5, 90_000, 3, 200, 100_000]
    assert answers["first"].tolist() == ["a"] * 5


def test_answers_that_are_not_one_for_each_row_are_left_to_one_run():
    inputs = {"x": np.array(["a", "c", "b" * 100_000], object)}
    groups = length_groups(row_lengths([inputs["x"]]))
    assert run_groups(lambda _: {"all": np.zeros(())}, inputs, groups) is None
    assert run_groups(lambda part: {"wide": np.zeros((1, len(part["x"][0])))}, inputs, groups) is None


ONE_LONG_TEXT = """
import re, sys
from pathlib import Path
import numpy as np
from lading.bundle import Bundle
from lading.runtime.open import load_runtime

def status_mb(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

bundle = Bundle.open(Path(sys.argv[1]))
runtime = load_runtime(bundle, threads=1)
(tensor,) = bundle.manifest.signature.inputs
texts = np.array(["the quick fox " * (1 + at % 5) for at in range(64)], object).reshape(-1, *tensor.shape[1:])
runtime.run({tensor.name: texts})
before = status_mb("VmRSS")
texts[17] = "café dog " * 5_000
answers = runtime.run({tensor.name: texts})
print(status_mb("VmHWM") - before)
(output,) = answers
for row in (0, 16, 17, 18, 63):
    alone = runtime.run({tensor.name: texts[row : row + 1]})[output]
    assert alone.tobytes() == answers[output][row : row + 1].tobytes(), row
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_long_text_does_not_make_the_others_long(tmp_path):
    from sklearn.feature_extraction.text import CountVectorizer

    import lading

    texts = ["the quick brown fox", "a lazy dog in the café", "naïve élan"] * 4
    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(2, 2), strip_accents="unicode").fit(texts)
    bundle = lading.pack(
        vectorizer, name="t", samples=texts, owner="t@example.com", purpose="x", to=tmp_path / "b"
    )
    done = subprocess.run(
        [sys.executable, "-c", ONE_LONG_TEXT, str(bundle.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # 64 rows of 45,000 characters take 1.3 GB.
    assert float(done.stdout) < 120
