"""A command in a process of its own: what it says, how its end is judged, and that nothing of it stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lading.airflow.command import LadingProcess, command_words
from support.waiting import wait_until

ASLEEP = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("asleep", os.getpid(), child.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + ASLEEP


def run(*arguments: str, command: list[str] | None = None, lines: list[str] | None = None):
    seen = lines if lines is not None else []
    return LadingProcess(command or command_words(None), arguments, {}).run(seen.append)


def program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_command_that_is_done_leaves_its_document(registry):
    ended = run("list", "--json")
    assert (ended.is_done, ended.sentence) == (True, "")
    assert [model["name"] for model in ended.document["models"]] == ["iris"]


def test_what_lading_refuses_is_final_and_has_its_sentence_and_hint(registry):
    ended = run("verify", "nobody:1", "--json")
    assert (ended.code, ended.is_done, ended.may_pass, ended.document) == (3, False, False, None)
    where, hint = ended.sentence.splitlines()
    assert where.startswith("model `nobody`: expected a model of registry ")
    assert hint.startswith("hint: ")


def test_a_registry_that_does_not_answer_may_do_so_later(tmp_path):
    environ = {"LADING_REGISTRY": "postgresql://127.0.0.1:1/nothing", "LADING_STORE": str(tmp_path)}
    ended = LadingProcess(command_words(None), ["list"], environ).run(print)
    assert (ended.code, ended.may_pass) == (4, True)
    assert "127.0.0.1:1" in ended.sentence


def test_lines_come_while_it_runs_and_the_error_is_none_of_them():
    code = """
import sys
print("first", "second", "", sep="\\n", file=sys.stderr)
print("error: this: expected that, found none", "hint: try", sep="\\n", file=sys.stderr)
sys.exit(1)
"""
    lines: list[str] = []
    ended = run(command=program(code), lines=lines)
    assert lines == ["first", "second"]
    assert ended.sentence == "this: expected that, found none\nhint: try"


def test_a_program_that_does_not_exist_is_final():
    ended = run("list", command=["/nowhere/lading"])
    assert not ended.may_pass
    assert ended.sentence == "`lading_command`: expected a program, found none at `/nowhere/lading`"


def test_one_that_the_kernel_killed_may_pass_later():
    ended = run("batch", command=program("import os; os.kill(os.getpid(), 9)"))
    assert ended.may_pass
    assert ended.sentence == (
        "`lading batch`: expected it to end by itself, found SIGKILL (9)\n"
        "hint: the kernel ends a process so when memory runs out"
    )


def test_words_come_from_a_text_or_a_list():
    assert command_words("uv run 'my lading'") == ["uv", "run", "my lading"]
    assert command_words(["/opt/my lading"]) == ["/opt/my lading"]
    assert command_words(None) == [sys.executable, "-m", "lading"]


@pytest.mark.parametrize("code", [ASLEEP, STUBBORN], ids=["asleep", "stubborn"])
def test_one_that_is_ended_leaves_no_process(code, monkeypatch):
    monkeypatch.setattr("lading.airflow.command.END_GRACE_S", 0.2)
    lines: list[str] = []
    process = LadingProcess(program(code), [], {})
    ended = []
    thread = threading.Thread(target=lambda: ended.append(process.run(lines.append)))
    thread.start()
    pids = [int(word) for word in wait_until(lambda: lines)[0].split()[1:]]
    process.end()
    thread.join(60)
    assert ended[0].code in (-signal.SIGTERM, -signal.SIGKILL)
    assert ended[0].may_pass
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid))


def test_one_that_is_interrupted_leaves_no_process():
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.extend(int(word) for word in line.split()[1:])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LadingProcess(program(ASLEEP), [], {}).run(stop)
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid))


def test_it_ends_with_the_process_that_runs_it():
    code = f"""
import sys
from lading.airflow.command import LadingProcess
LadingProcess([sys.executable, "-c", {ASLEEP!r}], [], {{}}).run(lambda line: print(line, flush=True))
"""
    task = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(task.stdout.readline().split()[1])
    assert is_alive(pid)
    task.kill()
    wait_until(lambda: not is_alive(pid))
    task.communicate()
