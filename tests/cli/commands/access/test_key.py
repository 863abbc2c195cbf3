"""`lading access key new`: a key once, and the lines of the access file that know it."""

from __future__ import annotations

import json

from lading.access.file import AccessFile
from lading.access.gate import Gate

SCORING = ("access", "key", "new", "--name", 'scoring "eu"', "--role", "predict")


def test_the_lines_that_are_printed_know_the_key_and_do_not_hold_it(lading):
    code, out, err = lading(*SCORING, "--models", "fraud, iris*", "--expires", "90d")
    key = err.split()[-1]
    assert (code, key in out) == (0, False)
    file = AccessFile.parse(out)
    assert file.keys[0].grant.models == ("fraud", "iris*")
    assert Gate(file).of_key(key).name == 'scoring "eu"'


def test_json_has_the_key_and_its_lines(lading):
    code, out, err = lading(*SCORING, "--json")
    made = json.loads(out)
    assert (code, err) == (0, "")
    assert Gate(AccessFile.parse(made["lines"])).of_key(made["key"]).name == made["name"]


def test_what_the_file_would_refuse_draws_no_key(lading):
    for words in (("--expires", "90"), ("--models", "[ab]"), ("--name", "a\nb")):
        code, out, err = lading(*SCORING, *words)
        assert (code, out) == (2, "")
        assert f"`{words[0]}`" in err
