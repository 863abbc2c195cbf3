"""How processes end: with their parent, also if it has ended before they ask for that."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lading.runtime.host.signals import how_it_ended
from support.waiting import wait_until

_ORPHAN = """
import os, sys, time
from lading.runtime.host.signals import end_with_parent
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
end_with_parent(parent)
print("lives on")
"""

_CHILD = """
import os, sys, time
from lading.runtime.host.signals import end_with_parent
parent = os.getpid()
pid = os.fork()
if pid:
    print(pid, flush=True)
    time.sleep(60)
end_with_parent(parent)
time.sleep(60)
"""


def test_a_process_whose_parent_ended_before_it_asked_ends_at_once():
    done = subprocess.run([sys.executable, "-c", _ORPHAN], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_process_ends_when_its_parent_does():
    parent = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    parent.kill()
    parent.communicate()
    wait_until(lambda: not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2][:3])


_PROGRAM = """
import subprocess, sys, time
from lading.runtime.host.signals import ending_with_parent
child = subprocess.Popen(ending_with_parent(["sleep", "60"]))
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_program_ends_with_the_process_that_started_it():
    parent = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    wait_until(lambda: (child / "comm").read_text() == "sleep\n")
    parent.kill()
    parent.communicate()
    wait_until(lambda: not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2][:3])


def test_an_end_is_said_in_words():
    assert how_it_ended(-signal.SIGSEGV) == "SIGSEGV (11)"
    assert how_it_ended(3) == "exit code 3"
