"""What the hub knows of the whole registry at one moment. Reads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from lading.alarms import Alarm
from lading.registry.records import ModelVersion
from lading.release import Release
from lading.replica import Replica, ReplicaModel
from lading.runs import Run
from lading.trust.scan import Scan


class Serving(msgspec.Struct, frozen=True):
    """One version on one replica that runs."""

    replica: Replica
    model: ReplicaModel


class Knowledge(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The newest version and the current release of every model, all replicas, and the open alarms.

    ``runs`` are the last runs over data sets that run, have failed or are lost, some of each; ``scans`` are
    the last ones of what runs, by digest.
    ``read_at`` is the Unix time, by the clock of this process, at which the catalog said so.
    """

    newest: Mapping[str, ModelVersion]
    releases: Mapping[str, Release]
    replicas: Sequence[Replica]
    alarms: Sequence[Alarm]
    runs: Sequence[Run] = ()
    scans: Mapping[str, Scan] = {}
    read_at: float

    @cached_property
    def serving(self) -> Mapping[str, list[Serving]]:
        """What runs, by the name of the model; replicas that are gone run nothing."""
        by_name: dict[str, list[Serving]] = {}
        for replica in self.replicas:
            if not replica.gone:
                for model in replica.models:
                    by_name.setdefault(model.name, []).append(Serving(replica, model))
        return by_name

    @cached_property
    def alarms_of(self) -> Mapping[str, list[Alarm]]:
        """The open alarms by the name of the model."""
        by_name: dict[str, list[Alarm]] = {}
        for alarm in self.alarms:
            by_name.setdefault(alarm.name, []).append(alarm)
        return by_name

    @property
    def names(self) -> list[str]:
        """Every model that has a version or runs somewhere, sorted: foreign servers run models, too."""
        return sorted({*self.newest, *self.serving})
