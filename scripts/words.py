"""List the words that this repository does not write: `python scripts/words.py [PATH ...]`.

The words, and what to write instead, are in words.toml. Prints one line per hit and exits 1 if there is one;
``--count`` prints the number of hits per folder.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ = ("*.py", "*.md", "*.toml", "*.cjs", "Makefile", "Dockerfile", "scripts/*", ".ci/*")

# These quote old words: the list itself, and the map from old names to new ones.
QUOTING = {"scripts/words.toml", "docs/reference/renamed.md"}


@dataclass(frozen=True)
class Hit:
    """One place where a word of the list stands."""

    path: str
    line: int
    text: str
    write: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: `{self.text}`, write: {self.write}"


@dataclass(frozen=True)
class Rule:
    """One word of the list: where it counts, and what to write instead."""

    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    write: str
    folder: str = ""

    def find(self, path: str, text: str) -> Iterator[Hit]:
        """Find the word in the text of a file."""
        if not path.startswith(self.folder):
            return
        for match in self.pattern.finditer(text):
            if self.unless is None or not self._is_excused(match, text):
                line = text.count("\n", 0, match.start()) + 1
                yield Hit(path, line, " ".join(match.group().split()), self.write)

    def _is_excused(self, match: re.Match[str], text: str) -> bool:
        assert self.unless is not None
        around = text[max(match.start() - 60, 0) : match.end() + 60]
        offset = min(match.start(), 60)
        return any(excuse.start() <= offset < excuse.end() for excuse in self.unless.finditer(around))


def _phrase(pattern: str) -> re.Pattern[str]:
    # Between words: spaces, a line break and the sign of a comment, or the underscore of a name.
    spaced = pattern.replace(" ", r"(?:\s+(?:#\s*)?|_)")
    start = r"(?<![A-Za-z])" if pattern[0].isalpha() or pattern[0] in "([" else ""
    end = "" if pattern.endswith(" ") else r"(?![A-Za-z])"
    return re.compile(f"{start}(?:{spaced}){end}", re.IGNORECASE)


@cache
def read_rules() -> tuple[tuple[Rule, ...], dict[str, str]]:
    """Read the list: the rules for texts, and the names that no variable has."""
    words = tomllib.loads((ROOT / "scripts" / "words.toml").read_text(encoding="utf-8"))
    rules = [
        Rule(
            _phrase(entry["pattern"]),
            _phrase(entry["unless"]) if "unless" in entry else None,
            entry["write"],
        )
        for entry in words["phrases"]
    ]
    names = [("", words["names"]), *words["names_in"].items()]
    rules += [
        Rule(re.compile(rf"\b{re.escape(old)}\b"), None, new, folder)
        for folder, table in names
        for old, new in table.items()
    ]
    return tuple(rules), words["variables"]


def find_variables(path: str, text: str, variables: dict[str, str]) -> Iterator[Hit]:
    """Find variables and parameters with a name of the list in Python code."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        else:
            continue
        if name in variables:
            yield Hit(path, node.lineno, name, variables[name])


def find_hits(path: str) -> Iterator[Hit]:
    """Find every hit in one file, named relative to the root of the repository."""
    rules, variables = read_rules()
    text = (ROOT / path).read_text(encoding="utf-8")
    for rule in rules:
        yield from rule.find(path, text)
    if path.endswith(".py"):
        yield from find_variables(path, text, variables)


def read_files(paths: list[str]) -> list[str]:
    """List the tracked and new files below `paths` that are read, or all of them."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run([*command, "--", *READ], cwd=ROOT, capture_output=True, check=True, text=True)
    names = sorted({name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()})
    return [name for name in names if name not in QUOTING and _is_below(name, paths)]


def _is_below(name: str, paths: list[str]) -> bool:
    return not paths or any((ROOT / name).is_relative_to(Path(path).absolute()) for path in paths)


def _folder(path: str) -> str:
    names = path.split("/")[:-1]
    return "/".join(names[: 4 if names[:3] == ["src", "lading", "server"] else 3]) or "."


def main() -> int:
    """Print the hits; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or folders; without one, everything is read")
    parser.add_argument("--count", action="store_true", help="print the number of hits per folder")
    options = parser.parse_args()
    hits = [hit for name in read_files(options.paths) for hit in find_hits(name)]
    if options.count:
        for folder, count in sorted(Counter(_folder(hit.path) for hit in hits).items()):
            print(f"{count:6} {folder}")
        print(f"{len(hits):6} together")
    else:
        print("".join(f"{hit}\n" for hit in hits), end="")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
