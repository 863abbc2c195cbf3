"""The config of a Ray Serve application, without Ray."""

from __future__ import annotations

import pytest
import yaml

from lading.deploy.ray_config import DRAIN_S, IMPORT_PATH, SHUTDOWN_S, RayOptions, Replica, config
from lading.deploy.yamltext import document, plain
from lading.errors import InvalidSetting


def test_the_config_names_the_replica_and_how_it_scales():
    replica = Replica(refs=("iris@sha256:1",), registry="/srv/models", cpus=2)
    made = plain(config(replica, RayOptions(max_replicas=8, in_flight=10)))
    (application,) = made["applications"]
    assert application["import_path"] == IMPORT_PATH
    assert Replica(**application["args"]).options() == replica.options()
    (deployment,) = application["deployments"]
    assert deployment["autoscaling_config"]["max_replicas"] == 8
    assert deployment["ray_actor_options"] == {"num_cpus": 2}


def test_a_server_has_as_many_threads_as_its_replica_has_cpus():
    options = Replica(cpus=3, allow="code").options()
    assert options == ["--threads", "3", "--allow", "code"]
    assert Replica(registry="/srv/models").options()[-2:] == ["--registry", "/srv/models"]


def test_serve_waits_longer_than_a_server_drains():
    assert SHUTDOWN_S > DRAIN_S


def test_the_config_is_yaml_with_its_reasons():
    text = document(config(Replica(), RayOptions()))
    assert yaml.safe_load(text) == plain(config(Replica(), RayOptions()))
    assert "# Of this machine alone" in text


@pytest.mark.parametrize("route", ["iris", "/iris/", ""])
def test_a_route_is_a_path(route):
    with pytest.raises(InvalidSetting):
        Replica(route=route)


def test_an_application_below_a_path_is_a_server_that_knows_it():
    replica = Replica(route="/iris")
    assert replica.options()[-2:] == ["--root-path", "/iris"]
    assert plain(config(replica, RayOptions()))["applications"][0]["route_prefix"] == "/iris"


@pytest.mark.parametrize("change", [{"min_replicas": 0}, {"min_replicas": 5}])
def test_what_serve_would_refuse_is_refused_here(change):
    with pytest.raises(InvalidSetting):
        RayOptions(**change)
