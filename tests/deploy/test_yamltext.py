"""YAML with comments: what is written can be read back, and surprising fields have a comment."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy.kubernetes import manifests
from lading.deploy.yamltext import Noted, document, documents, plain
from support.workloads import work

TEXT = st.text(max_size=20)


SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT


TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.builds(Noted, inner, st.just("because of a reason " * 9))
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(TEXT, TREES, min_size=1, max_size=4))
def test_any_tree_reads_back_as_it_was_written(tree):
    assert yaml.safe_load(document(tree)) == plain(tree)


@pytest.mark.parametrize("pattern", ["in-image", "load"])
def test_surprising_fields_have_a_comment_right_above_them(pattern):
    lines = documents(manifests(work(pattern))).splitlines()
    for field in (
        "automountServiceAccountToken:",
        "enableServiceLinks:",
        "terminationGracePeriodSeconds:",
        "startupProbe:",
        "readinessProbe:",
        "livenessProbe:",
        "preStop:",
        "maxUnavailable: 0",
        "appProtocol: kubernetes.io/h2c",
        "unhealthyPodEvictionPolicy:",
    ):
        (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(field)]
        assert lines[at - 1].strip().startswith("#"), field
