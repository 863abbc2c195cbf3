"""A lock that is an object in a bucket: taken and renewed by conditional writes, and free when it gets old.

Its age is read from the server's clock alone. A process that was killed leaves it; a run on the same machine
sees that, and one elsewhere has to wait until the lease has ended.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from pathlib import Path

import msgspec

from lading.batch.objects import Document, Objects
from lading.errors import NotSupported, OutputInUse, RegistryUnavailable

log = logging.getLogger("lading.batch")

# Some renewals may fail, and after a kill on another machine nobody waits for long.
LEASE_S = 60.0
_RENEWALS = 4


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: a process of a machine, and how often it has renewed its lease of ``lease_s``."""

    run: str
    machine: str
    process: int
    lease_s: float
    renewals: int = 0


class Lease:
    """The lock at `url`. Between `acquire` and `release` a thread renews it."""

    def __init__(self, objects: Objects, url: str, where: str, *, lease_s: float | None = None) -> None:
        self._objects = objects
        self._url = url
        self._where = where
        self._holder = Holder(uuid.uuid4().hex, machine(), os.getpid(), lease_s or LEASE_S)
        self._etag = ""
        self._good_until = 0.0
        self._ended = threading.Event()
        self._is_lost = False
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def acquire(self) -> None:
        """Take the lock. Raises `OutputInUse` if another run has it.

        Raises `NotSupported` for a server that does not keep conditions.
        """
        began = time.monotonic()
        etag = self._objects.put(self._url, self._encoded(), only_new=True)
        if etag is None:
            etag = self._take_over()
        elif self._objects.put(self._url, self._encoded(), only_new=True) is not None:
            # It would let two runs write to one place, and neither would know.
            self._objects.delete(self._url)
            expected, actual = "a server that keeps `If-None-Match`", "one that overwrites all the same"
            raise NotSupported(f"output `{self._where}`", expected=expected, found=actual)
        self._etag, self._good_until = etag, began + self._holder.lease_s
        self._thread.start()

    def _take_over(self) -> str:
        """Take a lock whose holder is gone."""
        document = self._objects.read(self._url)
        if document is None:
            etag = self._objects.put(self._url, self._encoded(), only_new=True)
        elif _is_free(document):
            etag = self._objects.put(self._url, self._encoded(), instead_of=document.etag)
        else:
            raise self._refusal()
        if etag is None:  # Another run was faster.
            raise self._refusal()
        return etag

    def check(self) -> None:
        """Raise `OutputInUse` if the lock may be another's by now."""
        if self._is_lost or time.monotonic() > self._good_until:
            hint = "was this machine asleep, or the bucket out of reach? the same command goes on"
            raise OutputInUse(
                f"output `{self._where}`", expected="the lock of this run", found="none", hint=hint
            )

    def release(self) -> None:
        """Remove the lock; one that was lost is left as it is."""
        self._ended.set()
        # A renewal under way would make the lock again that is removed here.
        self._thread.join()
        if self._is_lost or time.monotonic() > self._good_until:
            return
        try:
            self._objects.delete(self._url)
        except RegistryUnavailable as error:
            # Why the run ends says more than this, and the lock ends by itself.
            log.warning("the lock of %s stays until its lease ends: %s", self._where, error)

    def _renew(self) -> None:
        pause_s = self._holder.lease_s / _RENEWALS
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            renewals = self._holder.renewals + 1
            # Other bytes each time: by its ETag, a run that wants to take it over sees that it was renewed.
            self._holder = msgspec.structs.replace(self._holder, renewals=renewals)
            try:
                etag = self._objects.put(self._url, self._encoded(), instead_of=self._etag)
            except RegistryUnavailable as error:
                # `check` says when that has lasted for too long.
                log.warning("the lock of %s is not renewed: %s", self._where, error)
                continue
            if etag is None:
                self._is_lost = not self._is_own()
                if self._is_lost:
                    return
                continue
            self._etag, self._good_until = etag, began + self._holder.lease_s

    def _is_own(self) -> bool:
        """Return whether the lock is held after all: a renewal may arrive whose answer does not."""
        try:
            document = self._objects.read(self._url)
        except RegistryUnavailable:
            return True  # Not known: the next renewal asks again.
        if document is None or _decoded(document).run != self._holder.run:
            return False
        self._etag = document.etag
        return True

    def _encoded(self) -> bytes:
        return msgspec.json.encode(self._holder)

    def _refusal(self) -> OutputInUse:
        return OutputInUse(
            f"output `{self._where}`",
            expected="no other run",
            found="one that is at work",
            hint=f"wait for it, or write to another prefix; of one that was killed on another machine "
            f"the lock ends by itself within {self._holder.lease_s:.0f} s",
        )


def machine() -> str:
    """Return a name of this machine, since its start, and of what its process ids mean; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers on one machine count their processes apart.
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # No Linux: leases have to end by themselves.
        return ""


def _is_free(document: Document) -> bool:
    holder = _decoded(document)
    if document.age_s > holder.lease_s:
        return True
    return bool(holder.machine) and holder.machine == machine() and not _lives(holder.process)


def _decoded(document: Document) -> Holder:
    try:
        return msgspec.json.decode(document.data, type=Holder)
    except msgspec.MsgspecError:
        # Not ours; it counts as a lock of the usual length.
        return Holder("", "", 0, LEASE_S)


def _lives(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # A process that has ended may still be listed, as a zombie (proc_pid_stat(5)).
    return stat.rpartition(")")[2].split()[0] != "Z"
