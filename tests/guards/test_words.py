"""The repository is written in the field's words: `scripts/words.toml` has those that it does not write."""

from __future__ import annotations

import sys

import pytest

from support.scripts import load_script

words = load_script("words")


def test_no_word_of_the_list_is_written():
    hits = [hit for name in words.read_files([]) for hit in words.find_hits(name)]
    assert not hits, "\n".join(map(str, hits))


def find(text: str, path: str = "docs/page.md") -> list[str]:
    rules = words.read_words()
    hits = [hit for phrase in rules.phrases for hit in phrase.find(path, text, text.lower())]
    return [hit.text for hit in (*hits, *words.find_names(path, text, rules.names))]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("read it anew", ["anew"]),
        ("a canew", []),
        ("def test_a_bundle_is_read_anew(): ...", ["anew"]),
        ("it waits, for the catalog\n    # is locked", [", for the catalog # is"]),
        ("one table for each protocol, for REST and gRPC", []),
        ("the file is there", ["is there"]),
        ("is there a file", []),
        ("the catalog is away", ["is away"]),
        ("the reader went away", []),
        ("the blobs lie in a folder", ["lie"]),
        ("a header whose length lies", []),
        ('"""Give the path."""', ['"""Give']),
        ('"""Tell whether it holds."""', ['"""Tell']),
        ("callers of `Lookup.find`", ["Lookup"]),
        ("Lookup of versions", []),
    ],
)
def test_a_word_is_found_where_it_means_what_the_list_means(text, hits):
    assert find(text) == hits


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [
        ("anew", ("anew",)),
        ("lies?|lay", ("lie", "lay")),
        ("lanes?", ("lane",)),
        ("hand(?:s|ed)? (?:back|over)", ("hand",)),
        (", for (?:a|b) ", ("for",)),
        ("(?:is|are) (?:still )?there", ("there",)),
        ("(?:a|b)", ("",)),
    ],
)
def test_a_phrase_is_looked_for_where_some_of_its_letters_are(pattern, letters):
    assert words._letters(pattern) == letters


def test_an_old_name_in_code_is_found_and_in_prose_it_is_a_word():
    assert find("class Seat: ...\n'a Half moon'\n", "src/lading/x.py") == ["Seat", "Seat"]
    assert find("total = Half(1)", "src/lading/x.py") == ["Half"]


def test_a_variable_with_a_name_of_the_list_is_found():
    code = (
        "for one in rows: ...\ndef read(given): ...\n{found for found in rows}\nx.said = 1\n"
        "class Check:\n    found: str\ndef fail(expected, found): ...\n"
    )
    hits = words.find_variables("x.py", code, words.read_words().variables)
    assert [(hit.line, hit.text) for hit in hits] == [(1, "one"), (2, "given"), (3, "found")]


def test_the_script_prints_where_a_word_is_and_what_to_write(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("Read.\nRead it anew.\n")
    monkeypatch.setattr(words, "ROOT", tmp_path)
    monkeypatch.setattr(words, "read_files", lambda _paths: ["page.md"])
    monkeypatch.setattr(sys, "argv", ["words.py"])
    assert words.main() == 1
    assert capsys.readouterr().out == "page.md:2: `anew`, write: again\n"
