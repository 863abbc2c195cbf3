"""Who asks: addresses, what trusted proxies state, and the groups that callers are put into."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.server.inference.callers import Callers
from lading.traffic import CALLER_GROUPS

KEY, FORWARDED = b"x-lading-key", b"x-forwarded-for"


def groups(callers: Callers, requests: list[tuple[str, dict[bytes, bytes]]]) -> set[int]:
    return {callers.group(address, headers) for address, headers in requests}


def test_callers_are_spread_over_all_groups_and_stay_in_theirs():
    first, second = Callers(), Callers()
    addresses = [f"192.0.2.{at}" for at in range(200)]
    spread = [first.group(address, {}) for address in addresses]
    assert set(spread) == set(range(CALLER_GROUPS))
    assert [second.group(address, {}) for address in addresses] == spread, "the same on every server"


def test_a_stranger_is_one_caller_whatever_keys_and_headers_it_invents():
    invented = [("192.0.2.1", {KEY: b"k%d" % at, FORWARDED: b"10.0.0.%d" % at}) for at in range(100)]
    assert len(groups(Callers(), invented)) == 1


def test_behind_a_trusted_proxy_the_address_that_it_appended_is_the_caller():
    callers = Callers("10.0.0.0/8")
    direct = callers.group("192.0.2.7", {})
    behind = [("10.1.2.3", {FORWARDED: b"198.51.100.%d, 192.0.2.7, 10.9.9.9" % at}) for at in range(50)]
    assert groups(callers, behind) == {direct}, "what a caller wrote before it does not count"


def test_behind_a_trusted_proxy_that_states_no_address_the_key_is_the_caller():
    keyed = [("127.0.0.1", {KEY: b"user-%d" % at}) for at in range(100)]
    assert groups(Callers(), keyed) == set(range(CALLER_GROUPS))
    assert len(groups(Callers(""), keyed)) == 1, "nothing is trusted"


def test_a_unix_socket_is_a_trusted_proxy():
    assert len(groups(Callers(), [("", {KEY: b"user-%d" % at}) for at in range(100)])) == CALLER_GROUPS


def test_a_host_with_many_ipv6_addresses_is_one_caller():
    assert len(groups(Callers(), [(f"2001:db8::{at:x}", {}) for at in range(1, 200)])) == 1
    assert len(groups(Callers(), [(f"2001:db8:0:{at:x}::1", {}) for at in range(1, 200)])) == CALLER_GROUPS


def test_an_ipv4_address_is_the_same_caller_over_an_ipv6_socket():
    callers = Callers()
    assert callers.group("::ffff:192.0.2.1", {}) == callers.group("192.0.2.1", {})


def test_what_is_no_network_is_refused_when_the_server_starts():
    with pytest.raises(InvalidSetting, match="LADING_TRUSTED_PROXIES"):
        Callers("proxy.example")


@pytest.mark.parametrize(
    ("address", "forwarded", "caller"),
    [
        ("192.0.2.7", b"198.51.100.1", "192.0.2.7"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", b"198.51.100.1, 192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.1.2.3", b"10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("", b"192.0.2.7", "192.0.2.7"),
        ("", None, ""),
    ],
)
def test_the_address_of_a_caller_is_the_last_that_no_trusted_proxy_has(address, forwarded, caller):
    assert Callers("10.0.0.0/8").address(address, forwarded) == caller
