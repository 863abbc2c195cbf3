"""Wrong keys: each address has to wait longer after each of them."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable

from lading.clock import back_off_s

_FREE = 3
"""So many slips of the keyboard cost no time."""

_LONGEST_PAUSE_S = 60.0
_FORGOTTEN_AFTER_S = 900.0
_MOST_ADDRESSES = 4096


class Attempts:
    """The wrong keys of the last quarter of an hour, by the address that they came from."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By network: how many there were, and when the last one was. The last addresses come last.
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Return how many seconds an address has to wait before its next attempt is looked at."""
        with self._lock:
            count, last = self._wrong.get(_network(address), (0, 0.0))
            passed = self._clock() - last
        if count <= _FREE or passed > _FORGOTTEN_AFTER_S:
            return 0
        pause = back_off_s(count - _FREE, first_s=1.0, most_s=_LONGEST_PAUSE_S)
        return max(0, math.ceil(pause - passed))

    def failed(self, address: str) -> int:
        """Count a wrong key, and return how many there were from its address."""
        network = _network(address)
        with self._lock:
            now = self._clock()
            count, last = self._wrong.get(network, (0, now))
            count = 1 if now - last > _FORGOTTEN_AFTER_S else count + 1
            self._wrong[network] = (count, now)
            self._wrong.move_to_end(network)
            while len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)
        return count

    def succeeded(self, address: str) -> None:
        """Forget the wrong keys of an address from which the right one came."""
        with self._lock:
            self._wrong.pop(_network(address), None)


def _network(address: str) -> str:
    """Return what one host has for sure: its address or, of IPv6, the network in which it can choose one."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if known.version == 4:
        return str(known)
    return str(ipaddress.ip_network((known, 64), strict=False))
