"""Waiting for a release: what a look at it leads to, in a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import threading

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize

from lading.airflow import ReleaseSensor
from lading.airflow.triggers import ReleaseTrigger
from lading.registry import Registry
from lading.release import EventDraft, Plan

CANARY = Plan(mode="canary", steps=(10, 100))


def look(**fields):
    return ReleaseSensor(task_id="wait", **fields).poke({})


def end(registry: str, state: str) -> None:
    """End the current release as its driver would."""
    with Registry.open(registry) as opened:
        release = opened.releases.current("iris")
        kind = "promoted" if state == "live" else "rolled_back"
        draft = EventDraft(kind=kind, actor="rollout", reason="3 % more errors")
        opened.releases.change(release, event=draft, state=state, reason="3 % more errors")


@pytest.fixture
def canary(registry) -> str:
    """Begin a canary release of iris:2, number 2; return the registry."""
    with Registry.open(registry) as opened:
        opened.releases.begin("iris", 2, CANARY, actor="ada")
    return registry


def test_a_release_on_its_way_is_waited_for_until_it_is_live(canary):
    assert not look(model="iris")
    end(canary, "live")
    done = look(release={"name": "iris", "number": 2})
    assert done
    assert (done.xcom_value["state"], done.xcom_value["live"]) == ("live", 2)


def test_a_release_that_was_rolled_back_fails_with_its_reason(canary):
    end(canary, "rolled_back")
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


def test_the_triggerer_sees_the_end(canary):
    sensor = ReleaseSensor(task_id="wait", model="iris", deferrable=True, registry=canary, poke_interval=0.1)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    _, stored = deferred.value.trigger.serialize()
    trigger = ReleaseTrigger(**deserialize(serialize(stored)))
    ending = threading.Timer(1.0, end, (canary, "live"))
    ending.start()
    event = asyncio.run(first(trigger))
    ending.join()
    assert sensor.conclude_event({}, event.payload)["live"] == 2
    assert deferred.value.method_name == "conclude_event"


def test_the_triggerer_says_what_it_cannot_ask_for(registry):
    trigger = ReleaseTrigger(
        name="nobody", number=None, interval_s=0.1, registry=registry, env={}, lading_command=None
    )
    event = asyncio.run(first(trigger))
    sensor = ReleaseSensor(task_id="wait", model="nobody")
    with pytest.raises(AirflowFailException, match="`nobody`"):
        sensor.conclude_event({}, event.payload)


async def first(trigger: ReleaseTrigger):
    return await anext(trigger.run())
