"""A release that is waited for in the triggerer: stored, made again in another process, and its end seen."""

from __future__ import annotations

import asyncio
import threading

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize

from lading.airflow import ReleaseSensor
from lading.airflow.triggers import ReleaseTrigger


def test_the_triggerer_sees_the_end(canary, end):
    sensor = ReleaseSensor(task_id="wait", model="iris", deferrable=True, registry=canary, poke_interval=0.1)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    _, stored = deferred.value.trigger.serialize()
    trigger = ReleaseTrigger(**deserialize(serialize(stored)))
    ending = threading.Timer(1.0, end, ("live",))
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
