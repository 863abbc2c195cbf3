"""The export of a registry: every page, link, table and history, read back from the disk."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lading.cli import main
from lading.errors import ModelNotFound, UsageError
from lading.hub.export import export
from lading.hub.words import LANGUAGES
from support.hub_rows import alarm, loaded, replica

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.

HOSTILE = (
    "../../escape",
    "HOST-1",
    "host-1",
    "con",
    "a%2Fb",
    "x" * 200,
    "<script>alert(1)</script>",
    "\u202eh",
)


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = path.read_text("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.fixture
def lading(capsys):
    """Return a function that runs one command line and returns its exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def full(registry, push):
    """Return a registry with everything that pages show, and names that are no files."""
    push()
    push()
    push("wine")
    registry.release("iris:1", actor="ann", reason="first")
    registry.release("iris:2", actor="ben")
    for number, name in enumerate(HOSTILE):
        registry.fleet.beat(replica(number, loaded(), loaded("foreign", 7), id=name))
    registry.monitoring.save("monitor", {}, [], [alarm()])
    return registry


@pytest.mark.slow
def test_every_page_opens_from_the_disk_with_all_that_it_needs(full, tmp_path):
    out = tmp_path / "out"
    done = export(full, out)
    files = {path.resolve() for path in out.rglob("*") if path.is_file()}
    pages = [path for path in files if path.suffix == ".html"]
    assert len(pages) == done.pages + 1
    for path in pages:
        page = Page(path)
        assert not page.tags & {"script", "form", "input", "button"}
        for link in page.links:
            parts = urlsplit(link)
            assert (parts.scheme, parts.netloc, parts.query) == ("", "", ""), link
            assert not link.startswith("/")
            assert not parts.path or (path.parent / unquote(parts.path)).resolve() in files, (path, link)
        assert path.name == "index.html" or path.with_suffix(".json") in files
    assert {"home.html", "models/iris/1.html", "models/iris/release.html", "history/wine.html"} <= {
        path.relative_to(out.resolve()).as_posix() for path in pages
    }
    assert len(list((out / "inventory").glob("*.html"))) == len(HOSTILE)
    assert not list(tmp_path.glob("*escape*"))
    assert " ago</time>" not in Page(out / "models" / "iris.html").text


@pytest.mark.slow
def test_the_index_leads_to_every_page_and_says_of_what_it_is(full, tmp_path):
    out = (tmp_path / "out").resolve()
    done = export(full, out)
    reached, waiting = set(), [out / "index.html"]
    while waiting:
        path = waiting.pop()
        if path not in reached and path.suffix == ".html":
            reached.add(path)
            waiting += [(path.parent / link.partition("#")[0]).resolve() for link in Page(path).links]
    assert set(out.rglob("*.html")) <= reached
    text = Page(out / "index.html").text
    assert full.where in text
    assert done.read_at in text
    assert done.lading in text
    about = json.loads((out / "export.json").read_text())
    assert (about["registry"], about["pages"], about["limited_to"]) == (full.where, done.pages, [])


def test_histories_are_complete_and_checked(full, tmp_path):
    done = export(full, tmp_path / "out")
    assert [(model.name, model.broken) for model in done.models] == [("iris", ""), ("wine", "")]
    whole = json.loads((tmp_path / "out" / "history" / "iris~~events.json").read_text())
    assert len(whole["events"]) == done.models[0].events == len(full.releases.events("iris"))
    rows = (tmp_path / "out" / "history" / "iris~~events.csv").read_text().splitlines()
    assert len(rows) == 1 + done.models[0].events


@pytest.mark.slow
def test_a_history_that_was_changed_is_said_to_be_not_whole(lading, full, tmp_path):
    (file,) = Path(full.where).glob("*.db")
    with sqlite3.connect(file) as catalog:
        for (trigger,) in catalog.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            catalog.execute(f'drop trigger "{trigger}"')
        catalog.execute("update events set actor = 'eve' where name = 'iris' and seq = 1")
    catalog.close()
    code, stdout, stderr = lading("hub", "export", tmp_path / "out", "--registry", full.where, "--json")
    assert code == 1
    assert "the history of `iris` is not whole" in stderr
    (iris, wine) = json.loads(stdout)["export"]["models"]
    assert iris["broken"]
    assert not wine["broken"]
    assert "not whole" in Page(tmp_path / "out" / "index.html").text


@pytest.mark.slow
def test_the_hashes_hold_and_find_a_changed_file(full, tmp_path):
    out = tmp_path / "out"
    export(full, out)
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=out, capture_output=True, check=False).stdout == b""
    listed = {line.partition("  ")[2] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert listed == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    home = out / "home.html"
    home.write_text(home.read_text() + " ")
    assert hashlib.sha256(home.read_bytes()).hexdigest() not in (out / "SHA256SUMS").read_text()
    assert b"home.html: FAILED" in subprocess.run(check, cwd=out, capture_output=True, check=False).stdout


def test_one_model_alone_has_its_own_pages_and_no_others(full, tmp_path):
    out = tmp_path / "out"
    done = export(full, out, ["wine"], language="ko")
    assert [model.name for model in done.models] == ["wine"]
    assert all("iris" not in path.read_text() for path in out.rglob("*.html"))
    assert {path.relative_to(out).parts[0] for path in out.rglob("*.html")} <= {
        *("models", "history", "index.html"),
        *(path.name for path in out.glob("alarms~~model-wine*")),
    }
    assert 'lang="ko"' in Page(out / "index.html").text


def test_a_registry_that_is_too_large_is_refused_before_it_is_read(full, tmp_path):
    with pytest.raises(UsageError, match=r"expected at most 10 pages, found .* or more") as error:
        export(full, tmp_path / "out", most_pages=10)
    assert "--model NAME" in (error.value.hint or "")
    with pytest.raises(UsageError, match="expected at most 4 pages, found 5 or more"):
        export(full, tmp_path / "out", ["iris"], most_pages=4)
    assert list(tmp_path.glob("*out*")) == []
    with pytest.raises(ModelNotFound, match="expected a model of the registry"):
        export(full, tmp_path / "out", ["beer"])


def test_the_command_writes_prints_and_refuses(lading, full, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = lading("hub", "export", out, "--registry", full.where)
    assert (code, stdout) == (0, f"{out}/index.html\n")
    assert f"of {full.where}, read 2" in stderr
    (out / "mine").touch()
    code, _, stderr = lading("hub", "export", out, "--registry", full.where)
    assert code == 2
    assert "found `mine`, which no export has written" in stderr
    code, _, stderr = lading("hub", "--registry", full.where, "export", out)
    assert code == 2
    assert "`--registry` before `export`: expected after it" in stderr


def test_the_languages_of_the_command_are_those_of_the_pages():
    from lading.cli.commands.hub_export import export as command

    (option,) = [each for each in command.params if each.name == "language"]
    assert tuple(option.type.choices) == tuple(LANGUAGES)  # type: ignore[attr-defined]
