"""Options of a command line as fields of a task say them, and exceptions as the end of a command says."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from lading import errors
from lading.airflow import VerifyOperator
from lading.airflow.command import Ended
from lading.airflow.tasks import environment, failure, flags
from lading.cli.ui.exit_codes import exit_code

RETRIED = ("UnavailableError", "ServerBusy", "QueueFull", "RateExceeded", "MemoryShort", "DeadlineExceeded")


def test_options_are_words_and_what_is_not_set_is_none():
    assert flags(canary=True, max_rejected="1%", keep=["a", "b"], ab=False, gates=None, reason="") == [
        "--canary", "--max-rejected=1%", "--keep=a", "--keep=b",
    ]  # fmt: skip
    assert flags(min_requests=0) == ["--min-requests=0"]


def test_the_registry_is_a_variable_and_not_a_word():
    assert environment("postgresql://me:secret@db/lading", {"A": "b"}) == {
        "A": "b",
        "LADING_ACTOR": "airflow",
        "LADING_REGISTRY": "postgresql://me:secret@db/lading",
    }


def test_the_actor_is_airflow_unless_somebody_else_is_named(monkeypatch):
    assert environment(None, None) == {"LADING_ACTOR": "airflow"}
    assert environment(None, {"LADING_ACTOR": "ada"}) == {"LADING_ACTOR": "ada"}
    monkeypatch.setenv("LADING_ACTOR", "grace")
    assert environment(None, None) == {}


def test_default_args_of_a_dag_say_which_lading_and_registry():
    fields = {"lading_command": "/opt/lading/bin/lading", "registry": "/srv/models"}
    operator = VerifyOperator(task_id="task", model="iris:2", default_args=fields)
    assert (operator.lading_command, operator.registry) == (fields["lading_command"], fields["registry"])


@pytest.mark.parametrize("leaf", errors.leaves(), ids=lambda leaf: leaf.__name__)
def test_an_error_is_tried_again_only_if_that_may_help(leaf):
    may_help = any(base.__name__ in RETRIED for base in leaf.__mro__) and leaf is not errors.CatalogTooNew
    raised = failure(Ended(exit_code(leaf("here")), None, "here: refused"))
    assert isinstance(raised, AirflowException)
    assert isinstance(raised, AirflowFailException) is not may_help
    assert str(raised) == "here: refused"


@pytest.mark.parametrize("code", [-9, -15, 70, 130])
def test_what_ended_by_something_else_is_tried_again(code):
    assert not isinstance(failure(Ended(code, None, "killed")), AirflowFailException)
