"""Finds the route of a request. Answers nothing itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from lading.errors import MethodRefused, RouteNotFound
from lading.server.http.messages import Refuse, Route

LONGEST_CACHED_PATH = 512
"""Longest path that is cached with its route: paths that nobody asks for again would fill the memory."""


class Router:
    """Finds the route of a request, and caches it.

    ``beyond`` are routes whose pattern is only a prefix: they take, in any method, what no other route of
    that prefix takes, so that a protocol can refuse it in its own words. Paths may come with the `root_path`
    of a proxy or without it.
    """

    _MAX_CACHED = 4096

    def __init__(
        self, routes: Iterable[Route], refuse: Refuse, beyond: Iterable[Route] = (), root_path: str = ""
    ) -> None:
        self.root_path = root_path
        self.routes = tuple(routes)
        self.refuse = refuse
        self.beyond = tuple(beyond)
        self._compiled = [(_compile(route), route) for route in self.routes]
        self.cache: dict[tuple[str, str], tuple[Route, Mapping[str, str]]] = {}

    def local(self, path: str) -> str:
        """Return a path without the prefix of a proxy that has not taken it off."""
        prefix = self.root_path
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            return path[len(prefix) :] or "/"
        return path

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and its parameters; raises `RouteNotFound` or `MethodRefused`."""
        key = (method, path)
        match = self.cache.get(key)
        if match is None:
            match = self._search("GET" if method == "HEAD" else method, path)
            if len(path) <= LONGEST_CACHED_PATH:
                if len(self.cache) >= self._MAX_CACHED:
                    self.cache.clear()
                self.cache[key] = match
        return match

    def refusing(self, path: str) -> Refuse:
        """Return what words a refusal of `path`: the protocol that has the path, in any method."""
        path = self.local(path)
        matching = (route for pattern, route in self._compiled if pattern.fullmatch(path))
        route = next(matching, None)
        return route.refuse if route is not None else self.refuse

    def _search(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        allowed = []
        path = self.local(path)
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
    # Every second part is the name of a parameter. A colon ends it: `/v1/models/{name}:predict`.
    text = "".join(f"(?P<{part}>[^/:]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile(text, re.IGNORECASE if route.any_case else 0)
