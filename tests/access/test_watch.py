"""Watched files: each change acts once, also through a symbolic link that is swapped."""

from __future__ import annotations

from lading.access.watch import FileWatch
from lading.errors import InvalidSetting
from support.waiting import wait_until


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path):
    # As Kubernetes swaps the folder of a Secret.
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "access.toml").write_text("x")
    link, seen = tmp_path / "data", []
    link.symlink_to("old")
    watch = FileWatch([link / "access.toml"], lambda: seen.append(1), every_s=0.01)
    try:
        (tmp_path / "next").symlink_to("new")
        (tmp_path / "next").rename(link)
        wait_until(lambda: seen, what="it is noticed")
        assert seen == [1]
    finally:
        watch.close()


def test_what_cannot_be_read_is_said_and_the_next_change_counts(tmp_path, caplog):
    path, calls = tmp_path / "access.toml", []
    path.write_text("a")

    def changed() -> None:
        calls.append(path.read_text())
        if calls[-1] == "bad":
            raise InvalidSetting("`access.toml`", expected="TOML", found="another form")

    watch = FileWatch([path], changed, every_s=0.01)
    try:
        path.write_text("bad")
        wait_until(lambda: "what was read before still holds" in caplog.text, what="it is said")
        path.write_text("good!")
        wait_until(lambda: calls and calls[-1] == "good!", what="the next one is read")
    finally:
        watch.close()


def test_other_paths_can_be_watched_later(tmp_path):
    first, second, seen = tmp_path / "a", tmp_path / "b", []
    first.write_text("a")
    watch = FileWatch([first], lambda: seen.append(1), every_s=0.01)
    try:
        watch.watch([second])
        second.write_text("b")
        wait_until(lambda: seen, what="it is noticed")
    finally:
        watch.close()
