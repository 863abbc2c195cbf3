"""Waiting for a release: what a look at it leads to."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lading.airflow import ReleaseSensor
from lading.registry import Registry

pytestmark = pytest.mark.usefixtures("registry")


def look(**fields):
    return ReleaseSensor(task_id="wait", **fields).poke({})


def test_a_release_on_its_way_is_waited_for_until_it_is_live(canary, end):
    assert not look(model="iris")
    end("live")
    done = look(release={"name": "iris", "number": 2})
    assert done
    assert (done.xcom_value["state"], done.xcom_value["live"]) == ("live", 2)


def test_a_release_that_was_rolled_back_fails_with_its_reason(canary, end):
    end("rolled_back")
    with pytest.raises(AirflowFailException) as raised:
        look(model="iris:2")
    where = "release 2 of `iris`: expected it to go live, found it rolled back: 3 % more errors"
    assert str(raised.value) == where


def test_a_release_that_another_one_replaced_fails_although_that_one_is_live(canary):
    with Registry.open(canary) as opened:
        opened.releases.begin("iris", 2, actor="grace")
    with pytest.raises(AirflowFailException, match="found it superseded"):
        look(release={"name": "iris", "number": 2})
    assert look(release={"name": "iris", "number": 1}).xcom_value["live"] == 1
    assert look(model="iris").xcom_value["number"] == 3


def test_a_registry_that_does_not_answer_is_asked_again(tmp_path):
    away = {"registry": "postgresql://127.0.0.1:1/nothing", "env": {"LADING_STORE": str(tmp_path)}}
    assert not look(model="iris", **away)


def test_a_model_that_was_never_released_is_not_waited_for():
    with pytest.raises(AirflowFailException, match="nobody"):
        look(model="nobody")


def test_a_sensor_names_a_release_or_a_model():
    for fields in ({}, {"release": {"name": "iris", "number": 1}, "model": "iris"}):
        with pytest.raises(ValueError, match="either `release` or `model`"):
            ReleaseSensor(task_id="wait", **fields)


def test_it_frees_its_slot_between_two_looks_unless_it_is_to_poke():
    assert ReleaseSensor(task_id="wait", model="iris").reschedule
    assert not ReleaseSensor(task_id="poke", model="iris", mode="poke").reschedule
