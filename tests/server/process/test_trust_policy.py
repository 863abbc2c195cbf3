"""Real servers with a trust policy over one registry: who may sign `fraud`, and that none of it runs code."""

from __future__ import annotations

import httpx
import pytest

from lading.registry import Registry
from lading.replica import UNKNOWN
from lading.trust.policy import TrustPolicy
from support.bundles import linear_bundle
from support.python_bundles import python_bundle
from support.recorded_evidence import push_proved
from support.server_process import serving
from support.signing import policy_file, signature

BOTH_FAILED = {"fraud": "failed", "doubled": "failed"}
RULES = """
[[model]]
names = ["fraud", "doubled"]
keys = ["ml-release"]

[[model]]
names = ["*"]
"""


@pytest.mark.slow
def test_a_fleet_lets_in_only_what_ml_release_has_signed_and_no_code(tmp_path):
    policy = policy_file(tmp_path, RULES, keys="ml-release:packer ci:packer")
    digest = TrustPolicy.read(policy).digest
    fraud = linear_bundle(tmp_path / "fraud.bundle", name="fraud")
    code = python_bundle(tmp_path / "doubled.bundle")
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        registry.attest(fraud.digest, signature(fraud, "ci"))
        registry.attest(code.digest, signature(code, "ml-release"))
        for bundle in (fraud, code):
            push_proved(registry, bundle)
            # From a machine without the policy: it is the servers that hold.
            registry.release(f"{bundle.manifest.name}:1", actor="mallory")
        flags = ("--registry", url, "--trust-policy", str(policy), "--allow", "code")
        with (
            serving(flags=flags, ready=False) as first,
            serving(flags=flags, ready=False) as second,
            serving(flags=("--registry", url, "--allow", "code"), ready=False) as open_to_all,
        ):
            for server in (first, second):
                server.wait_until(lambda server=server: states(server) == BOTH_FAILED)
                health = httpx.get(f"{server.url}/health", timeout=20)
                assert health.status_code == 503
                reasons = {model: reason(server, model) for model in ("fraud", "doubled")}
                assert "`fraud` (`sha256:" in reasons["fraud"]
                assert "is not loaded, attestation" in reasons["fraud"]
                assert "expected a signature by one key that counts here" in reasons["fraud"]
                words = "expected a bundle that runs nothing of its own, found code in it"
                assert words in reasons["doubled"]
                assert health.json()["reason"] in reasons.values()
                page = httpx.get(f"{server.url}/metrics", timeout=20).text
                assert 'lading_trust_refused{loaded="no",model="fraud",version="1"} 1.0' in page
                assert f'lading_trust_policy_info{{digest="{digest}"}} 1.0' in page
                assert server.log.count(f"trust policy `{policy}`, {digest}") == 1
            assert open_to_all.log.count("no trust policy: any bundle is let in") == 1
            open_to_all.wait_until(lambda: states(open_to_all).get("fraud") == "ready")
            first.wait_until(lambda: policies_of_fleet(registry) == [digest, digest, "none"])
            # A heartbeat may have been sent while they were loading.
            first.wait_until(lambda: {model.state for model in refused(registry)} == {"failed"})
            assert all("is not loaded" in model.reason for model in refused(registry))
            # Signed by whom it must be: no server needs a restart.
            registry.attest(fraud.digest, signature(fraud, "ml-release"))
            for server in (first, second):
                server.wait_until(lambda server=server: states(server)["fraud"] == "ready")
            first.wait_until(lambda: policies(registry))
            (event,) = policies(registry)
            assert (event.from_, event.to, event.evidence) == ("", digest, {"file": str(policy)})
            policy.write_text(policy.read_text() + "\n# Nothing else.\n")
            now = TrustPolicy.read(policy).digest
            first.wait_until(lambda: len(policies(registry)) == 2)
            assert [(event.from_, event.to) for event in policies(registry)] == [("", digest), (digest, now)]
            first.wait_until(lambda: "the trust policy has changed" in first.log)
            assert UNKNOWN not in policies_of_fleet(registry)


def states(server) -> dict[str, str]:
    models = httpx.get(f"{server.url}/models", timeout=20).json()["models"]
    return {model["name"]: model["state"] for model in models}


def reason(server, model: str) -> str:
    versions = httpx.get(f"{server.url}/models/{model}", timeout=20).json()["versions"]
    return versions[0]["reason"]


def replicas(registry):
    return sorted(registry.fleet.replicas(), key=lambda replica: replica.trust_policy == "none")


def refused(registry):
    """Return the models of the two servers with a policy, as the inventory has them."""
    return [model for replica in replicas(registry)[:2] for model in replica.models]


def policies_of_fleet(registry) -> list[str]:
    return [replica.trust_policy for replica in replicas(registry)]


def policies(registry):
    return [event for event in registry.releases.events("fraud") if event.kind == "policy"]
