"""Which machines of a cluster may score, and how often what was tried has failed. Asks no cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lading.errors import LadingError, RunFailed

TRIES = 3
"""So often a part is tried, and the start of a process on a machine that has proved nothing yet."""

_MOST_UNPLACED = 10


class Standing:
    """What a run has learned of machines, by their ids in the cluster, and of parts."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[str, LadingError]] = {}
        self._proved: set[str] = set()
        self._ended: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()

    def is_refused(self, node: str) -> bool:
        """Return whether a machine may not score."""
        return node in self._refused

    def has_proved(self, node: str) -> bool:
        """Return whether the golden samples have held on a machine."""
        return node in self._proved

    def usable(self, nodes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return those of a cluster's `nodes`, as Ray lists them, that may score, each with its CPUs."""
        return {
            node["NodeID"]: node["Resources"]["CPU"]
            for node in nodes
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1 and node["NodeID"] not in self._refused
        }

    def selector(self) -> dict[str, str] | None:
        """Return the label selector of machines that are not refused, or None if none is."""
        return {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None

    def prove(self, node: str) -> None:
        """Record that the golden samples have held on a machine."""
        self._proved.add(node)

    def refuse(self, node: str, name: str, error: LadingError) -> bool:
        """Record why a machine, of that name to people, may not score; return whether that is new."""
        if node in self._refused:
            return False
        self._refused[node] = name, error
        return True

    def refusal(self) -> LadingError | None:
        """Return why the last machine was refused, for a run that has no other left."""
        if not self._refused:
            return None
        name, error = list(self._refused.values())[-1]
        text = f"no machine of the cluster is left; this was `{name}`"
        return error.with_hint(f"{error.hint}; {text}" if error.hint else text)

    def begin(self, part: str) -> None:
        """Count a try of a part."""
        self._tries[part] += 1

    def take_back(self, part: str) -> None:
        """Count a try as none: the machine was at fault."""
        self._tries[part] -= 1

    def lose(self, part: str, why: str) -> None:
        """Raise `RunFailed` if a part was tried too often: what ends every process is in its rows."""
        if self._tries[part] >= TRIES:
            raise RunFailed(
                f"part `{part}`",
                expected="a process that scores it",
                found=f"{TRIES} that ended ({why})",
                hint="is it out of memory? fewer `--processes` need less",
            )

    def place(self) -> None:
        """Record that a process has come up on some machine."""
        self._ended[""] = 0

    def lose_early(self, node: str, name: str, why: str) -> RunFailed | None:
        """Count a process that has ended before it proved itself, on a machine or ("") before that was known.

        Return the reason to refuse the machine, if it was one too many there: a broken library may end a
        process as well. Raises `RunFailed` if none comes up anywhere.
        """
        self._ended[node] += 1
        ended = f"{self._ended[node]} that ended ({why})"
        if not node:
            if self._ended[node] >= _MOST_UNPLACED:
                raise RunFailed("the Ray cluster", expected="processes that start", found=ended)
        elif node not in self._proved and self._ended[node] >= TRIES:
            return RunFailed(f"machine `{name}`", expected="a process that loads the model", found=ended)
        return None
