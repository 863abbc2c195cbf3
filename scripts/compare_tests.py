"""Compare the tests of the working tree with those of a commit: `scripts/compare_tests.py COMMIT`.

Prints a table old name -> new name of every test that was renamed, and those that are new or dropped. A test
counts as renamed if its body is nearest to that of one that is gone; how near is printed, because a body that
changed much deserves a look. Ends with 1 if a test was dropped.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEAST_LIKENESS = 0.3
"""Two bodies that share less of their words are two tests."""


@dataclass(frozen=True)
class Test:
    """One test function: where it is, its name, and the words of its body."""

    path: str
    name: str
    words: Counter[str]
    asserts: int

    def likeness(self, other: Test) -> float:
        """Return the share of words that both bodies have, from 0 to 1."""
        both = (self.words & other.words).total()
        return both / max(1, (self.words | other.words).total())


def tests_in(path: str, text: str) -> Iterator[Test]:
    """Find the test functions of one file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            # Words of code and of strings: names of variables change, what is asserted hardly does.
            body = "\n".join(ast.unparse(statement) for statement in node.body)
            words = Counter(re.findall(r"\w+", body))
            asserts = sum(isinstance(child, ast.Assert) for child in ast.walk(node))
            yield Test(path, node.name, words, asserts)


def tests_of_commit(commit: str) -> list[Test]:
    """Read the tests of a commit from git."""
    listing = _git("ls-tree", "-r", "--name-only", commit, "--", "tests").splitlines()
    paths = [path for path in listing if Path(path).match("test_*.py")]
    return [test for path in paths for test in tests_in(path, _git("show", f"{commit}:{path}"))]


def tests_of_tree() -> list[Test]:
    """Read the tests of the working tree."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [test for path in paths for test in tests_in(str(path.relative_to(ROOT)), path.read_text())]


def match(old: list[Test], new: list[Test]) -> dict[int, tuple[int, float]]:
    """Pair old tests with new ones, by index: equal names first, then the nearest bodies."""
    pairs: dict[int, tuple[int, float]] = {}
    left = set(range(len(new)))
    for index, test in enumerate(old):
        same = [at for at in left if new[at].name == test.name]
        if same:
            best = max(same, key=lambda at: test.likeness(new[at]))
            pairs[index] = (best, test.likeness(new[best]))
            left.discard(best)
    unpaired = [index for index in range(len(old)) if index not in pairs]
    likely = ((old[index].likeness(new[at]), index, at) for index in unpaired for at in left)
    for likeness, index, at in sorted(likely, reverse=True):
        if likeness >= _LEAST_LIKENESS and index not in pairs and at in left:
            pairs[index] = (at, likeness)
            left.discard(at)
    return pairs


def main() -> int:
    """Print the comparison; return 1 if a test was dropped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--all", action="store_true", help="list tests that kept their name as well")
    options = parser.parse_args()
    old, new = tests_of_commit(options.commit), tests_of_tree()
    pairs = match(old, new)
    dropped = [test for index, test in enumerate(old) if index not in pairs]
    for index, (at, likeness) in sorted(pairs.items()):
        before, after = old[index], new[at]
        fewer = f", {before.asserts - after.asserts} asserts fewer" if after.asserts < before.asserts else ""
        if options.all or before.name != after.name or fewer:
            print(f"{before.path}::{before.name}")
            print(f"  -> {after.path}::{after.name}  ({likeness:.0%} alike{fewer})")
    for test in dropped:
        print(f"DROPPED {test.path}::{test.name}")
    kept = sum(old[index].name == new[at].name for index, (at, _) in pairs.items())
    print(
        f"{len(old)} tests before, {len(new)} now: {kept} kept their name, {len(pairs) - kept} were renamed, "
        f"{len(new) - len(pairs)} are new, {len(dropped)} dropped"
    )
    return 1 if dropped else 0


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout


if __name__ == "__main__":
    sys.exit(main())
