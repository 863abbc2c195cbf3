"""The campaign over mutated models: forked processes say what real ones say, and what is wrong is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lading.verify import isolation, measure, verify
from support.bundles import linear_bundle
from support.crashing_models import (
    ZEROS,
    crashing_bundle,
    crashing_on_zeros,
    crashing_while_it_loads,
    endless_run,
)
from support.forked_modules import ForkedModules, Zygote
from support.scripts import load_script
from support.verified_bundles import by_name

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutate_models.py"


@pytest.fixture(scope="module")
def zygote():
    forks = Zygote()
    yield forks
    forks.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        linear_bundle,
        lambda path: crashing_bundle(path, crashing_while_it_loads(), ZEROS),
        lambda path: crashing_bundle(path, crashing_on_zeros(), ZEROS),
        lambda path: crashing_bundle(path, endless_run()),
    ],
    ids=["good", "crashing while it loads", "crashing", "endless"],
)
def test_a_forked_process_gives_the_evidence_of_a_real_one(tmp_path, monkeypatch, zygote, write):
    bundle = write(tmp_path / "b")
    real = verify(bundle, timeout_s=5)
    monkeypatch.setattr(isolation, "subprocess", ForkedModules(zygote))
    monkeypatch.setattr(measure, "subprocess", ForkedModules(zygote))
    forked = verify(bundle, timeout_s=5)
    assert [check.outcome for check in forked.checks] == [check.outcome for check in real.checks]
    assert forked.failures == real.failures
    assert by_name(forked)["memory"].outcome == by_name(real)["memory"].outcome


@pytest.mark.slow
def test_a_module_that_raises_ends_as_an_interpreter_does(zygote):
    command = [sys.executable, "-P", "-m", "lading.verify.memory_probe", "nowhere", "1"]
    done = ForkedModules(zygote).run(command, timeout=20)
    real = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (real.returncode, real.stdout) == (1, b"")
    assert done.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]


@pytest.mark.slow
def test_every_mutation_of_a_node_test_ends_with_a_sentence():
    command = [sys.executable, str(SCRIPT), "--seconds", "6", "--sample", "20", "--limit-s", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    count = re.match(r"([\d,]+) models verified in", done.stdout)
    assert count is not None
    assert int(count[1].replace(",", "")) > 5


@pytest.mark.slow
def test_an_end_without_a_sentence_is_a_failure_that_can_be_repeated(tmp_path):
    script = load_script("mutate_models")
    evidence = verify(crashing_bundle(tmp_path / "b", crashing_while_it_loads(), ZEROS))
    (check,) = evidence.failures
    assert script.ending(check) == "`session`: SIGSEGV (11)"
    for sentence in (
        "",
        "Traceback (most recent call last)",
        "that loading ended its process with exit code 1",
    ):
        silent = type(check)(check.name, "failed", check.expected, sentence)
        assert script.ending(silent).startswith("BAD: `session`")
