"""Numbers with their units, as people read them in a terminal, on a page and in a notebook.

One way everywhere, so that what a command prints can be looked for on a page. Knows nothing of models, and is
light enough for `lading --help`. The charts of monitoring have figures of their own, as their axes need them.
"""

from __future__ import annotations

from collections.abc import Callable

NO_VALUE = "–"
DURATIONS = ("{seconds} s", "{minutes} min", "{hours} h {minutes} min")

_DIGEST_CHARS = 12


def duration(seconds: float, say: Callable[..., str] = str.format) -> str:
    """Return a duration as people read it: ``12 s``, ``4 min``, ``2 h 5 min``.

    `say` returns one of `DURATIONS` with its values, such as in another language.
    """
    if seconds < 120:
        return say(DURATIONS[0], seconds=f"{seconds:.0f}")
    minutes = round(seconds / 60)
    if minutes < 120:
        return say(DURATIONS[1], minutes=str(minutes))
    return say(DURATIONS[2], hours=str(minutes // 60), minutes=str(minutes % 60))


def latency(seconds: float | None) -> str:
    """Return a latency to three digits, in milliseconds or, from 1 s on, in seconds."""
    if seconds is None:
        return NO_VALUE
    # 0.9995 s would be rounded to `1.00e+03 ms`.
    amount, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    return f"{amount:#.3g}".removesuffix(".") + f" {unit}"


def percent(share: float | None) -> str:
    """Return a share, from 0 to 1, as a percentage with two decimals."""
    return NO_VALUE if share is None else f"{100 * share:.2f} %"


def weight(weight_percent: float) -> str:
    """Return a percentage of traffic without its sign, which sentences have: ``5``, ``12.5``."""
    return f"{weight_percent:.1f}".removesuffix(".0")


def size(size_bytes: float) -> str:
    """Return a number of bytes in powers of ten, as disks have them: ``812 B``, ``1.4 MB``."""
    amount, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def short_digest(digest: str) -> str:
    """Return the beginning of a digest, as much as people compare."""
    return digest[: len("sha256:") + _DIGEST_CHARS]
