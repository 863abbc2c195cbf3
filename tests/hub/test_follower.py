"""What the hub knows of a catalog that cannot be read: what it knew, and why that is not newer."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from lading.hub.follower import Follower
from support.hub_rows import loaded, replica


def test_what_cannot_be_read_is_said_and_logged_once_and_the_rest_stays(registry, push, caplog):
    push()
    registry.fleet.beat(replica(1, loaded()))
    follower = Follower(registry)
    follower.read()
    assert follower.known.failure == ""
    engine = registry.catalog.database.engine
    with engine.begin() as connection:
        whole = connection.execute(sa.text("SELECT body FROM replicas")).scalar_one()
        connection.execute(sa.text("UPDATE replicas SET body = :body"), {"body": "{"})
    with caplog.at_level(logging.ERROR, "lading.hub"):
        follower.read()
        follower.read()
    assert len(caplog.records) == 1
    assert "cannot be read" in follower.known.failure
    assert set(follower.known.knowledge.newest) == {"iris"}
    # A hub that starts there says so as well, instead of not starting.
    new = Follower(registry)
    new.start()
    assert (new.known.knowledge, "cannot be read" in new.known.failure) == (None, True)
    new.close()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE replicas SET body = :body"), {"body": whole})
    follower.read()
    assert follower.known.failure == ""
