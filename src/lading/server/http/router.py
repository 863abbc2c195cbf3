"""Finds the route of a request. Answers nothing itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from lading.errors import MethodRefused, RouteNotFound
from lading.server.http.messages import Refuse, Route

LONGEST_REMEMBERED = 512
"""Longest path that is remembered with its route: paths that nobody asks for again would fill the memory."""


class Router:
    """Finds the route of a request; remembers what it found, up to a limit.

    ``beyond`` are routes whose pattern is only a prefix: they take, in any method, what no other route of
    that prefix takes, so that a protocol can refuse it in its own words.
    """

    _REMEMBERED = 4096

    def __init__(self, routes: Iterable[Route], refuse: Refuse, beyond: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        self.refuse = refuse
        self.beyond = tuple(beyond)
        self._compiled = [(_compile(route), route) for route in self.routes]
        self._found: dict[tuple[str, str], tuple[Route, Mapping[str, str]]] = {}

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and its parameters; raises `RouteNotFound` or `MethodRefused`."""
        key = (method, path)
        found = self._found.get(key)
        if found is None:
            found = self._search("GET" if method == "HEAD" else method, path)
            if len(path) <= LONGEST_REMEMBERED:
                if len(self._found) >= self._REMEMBERED:
                    self._found.clear()
                self._found[key] = found
        return found

    def refusing(self, path: str) -> Refuse:
        """Return who words a refusal of `path`: the protocol that has it, in whatever method."""
        having = (route for pattern, route in self._compiled if pattern.fullmatch(path))
        route = next(having, None)
        return route.refuse if route is not None else self.refuse

    def _search(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        allowed = []
        for pattern, route in self._compiled:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, {name: unquote(part) for name, part in match.groupdict().items()}
            allowed.append(route.method)
        for route in self.beyond:
            if path[: len(route.pattern)].lower() == route.pattern:
                return route, {}
        if not allowed:
            raise RouteNotFound(
                f"`{path}`", expected="a route of this server", found="none", hint="see `/docs`"
            )
        methods = tuple(sorted(set(allowed)))
        raise MethodRefused(f"`{path}`", expected=" or ".join(methods), found=method, allowed=methods)


def _compile(route: Route) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", route.pattern)
    text = "".join(f"(?P<{part}>[^/:]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile(text, re.IGNORECASE if route.any_case else 0)
