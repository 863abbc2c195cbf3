"""List the words that this repository does not write: `python scripts/words.py [PATH ...]`.

The words, and what to write instead, are in words.toml. Prints one line per hit and exits 1 if there is one;
``--count`` prints the number of hits per folder.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ = ("*.py", "*.md", "*.toml", "*.cjs", "Makefile", "Dockerfile", "scripts/*", ".ci/*")

# These quote old words: the list, its test, and the map from old names to new ones.
QUOTING = {
    "docs/reference/onnx-files.md",
    "scripts/words.toml",
    "tests/guards/test_words.py",
    "docs/reference/renamed.md",
}

_WORD = re.compile(r"\w+")

# Messages say *expected X, found Y*, and so do the arguments of errors and checks.
PARAMETERS = {"found"}


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
class Phrase:
    """One phrase of the list, and what to write instead."""

    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    write: str
    letters: tuple[str, ...]

    def find(self, path: str, text: str, lower: str) -> Iterator[Hit]:
        """Find the phrase in the text of a file, which is given in lower case as well."""
        # To look for a few letters takes a fraction of what the pattern takes, and few files have them.
        if not any(letters in lower for letters in self.letters):
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


def _letters(pattern: str) -> tuple[str, ...]:
    """Return words of which a text must have one if the phrase stands in it: one of each alternative."""
    outside, depth = "", 0
    for character in pattern:
        depth += character in "(["
        outside += "\n" if depth else character
        depth -= character in ")]"
    letters = []
    for alternative in outside.split("|"):
        # A letter before `?` may be absent.
        words = re.findall(r"[a-z]+(?![a-z]*[?*{])|[a-z]+(?=[a-z][?*{])", alternative, re.IGNORECASE)
        letters.append(max(words, key=len, default="").lower())
    return tuple(letters)


@dataclass(frozen=True)
class Words:
    """The list: phrases, old names by the folder in which they count, and names that no variable has."""

    phrases: tuple[Phrase, ...]
    names: dict[str, dict[str, str]]
    variables: dict[str, str]


@cache
def read_words() -> Words:
    """Read the list."""
    words = tomllib.loads((ROOT / "scripts" / "words.toml").read_text(encoding="utf-8"))
    phrases = tuple(
        Phrase(
            _phrase(entry["pattern"]),
            _phrase(entry["unless"]) if "unless" in entry else None,
            entry["write"],
            _letters(entry["pattern"]),
        )
        for entry in words["phrases"]
    )
    return Words(phrases, {"": words["names"], **words["names_in"]}, words["variables"])


def find_names(path: str, text: str, names: dict[str, dict[str, str]]) -> Iterator[Hit]:
    """Find old names: in Python code as names, in every text between backticks."""
    table = {
        old: new
        for folder, entries in names.items()
        if path.startswith(folder)
        for old, new in entries.items()
    }
    # Most files hold none of them as a word, and need not be read as code.
    if table.keys().isdisjoint(_WORD.findall(text)):
        return
    quoted = (
        (word.group(), text.count("\n", 0, span.start()) + 1)
        for span in re.finditer(r"`[\w.(){}/]+`", text)
        for word in _WORD.finditer(span.group())
    )
    for name, line in [*(_python_names(text) if path.endswith(".py") else ()), *quoted]:
        if name in table:
            yield Hit(path, line, name, table[name])


def _python_names(text: str) -> Iterator[tuple[str, int]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string, token.start[0]


def find_variables(path: str, text: str, variables: dict[str, str]) -> Iterator[Hit]:
    """Find variables and parameters with a name of the list in Python code; fields of classes are none."""
    # Only a name that is bound counts: by far most files have these words in their sentences alone.
    if re.search(rf"\b(?:{'|'.join(variables)})\b(?=\s*(?:[:,)\]=]|in\b)|$)", text, re.MULTILINE) is None:
        return
    nodes = list(ast.walk(ast.parse(text)))
    fields = {
        id(line.target)
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }
    for node in nodes:
        if isinstance(node, ast.arg) and node.arg not in PARAMETERS:
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            name = node.id
        else:
            continue
        if name in variables:
            yield Hit(path, node.lineno, name, variables[name])


def find_hits(path: str) -> list[Hit]:
    """Find every hit in one file, which is named relative to the root of the repository."""
    words = read_words()
    text = (ROOT / path).read_text(encoding="utf-8")
    lower = text.lower()
    hits = [hit for phrase in words.phrases for hit in phrase.find(path, text, lower)]
    hits += find_names(path, text, words.names)
    if path.endswith(".py"):
        hits += find_variables(path, text, words.variables)
    return sorted(hits, key=lambda hit: hit.line)


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
        print(f"{len(hits):6} in all")
    else:
        print("".join(f"{hit}\n" for hit in hits), end="")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
