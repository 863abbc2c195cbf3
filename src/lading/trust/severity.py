"""How bad a vulnerability is, in five words, from CVSS vectors and from words that advisories state.

``unknown`` is a word of its own: it is neither low nor high, and a limit never lets it pass in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from lading.errors import missing_extra

Severity = Literal["none", "low", "medium", "high", "critical", "unknown"]

RATINGS: tuple[Severity, ...] = ("none", "low", "medium", "high", "critical")
LIMITS = RATINGS
"""What can be a limit, from the least to the most."""

# Words of GitHub, Debian and Red Hat beside those of CVSS.
_WORDS: dict[str, Severity] = {
    "moderate": "medium",
    "important": "high",
    "negligible": "low",
    "unimportant": "low",
    "minor": "low",
    **{word: word for word in RATINGS},
}


def rating_of_word(word: str) -> Severity:
    """Return a word for a severity as one of ours; ``unknown`` for any other."""
    return _WORDS.get(word.strip().lower(), "unknown")


def rating_of_score(score: float) -> Severity:
    """Return the rating of a CVSS score (CVSS v3.1, table 14; version 4 has the same)."""
    if not 0 <= score <= 10:
        return "unknown"
    steps: tuple[tuple[float, Severity], ...] = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"))
    for least, rating in steps:
        if score >= least:
            return rating
    return "low" if score > 0 else "none"


def score_of_vector(vector: str) -> float | None:
    """Return the base score of a CVSS vector of version 2, 3 or 4, or None for any other text."""
    try:
        from cvss import CVSS2, CVSS3, CVSS4
        from cvss.exceptions import CVSSError
    except ImportError as error:
        raise missing_extra("rating by a CVSS vector", "trust", error) from None

    # Vectors of version 2 have no prefix.
    kind = CVSS4 if vector.startswith("CVSS:4") else CVSS3 if vector.startswith("CVSS:3") else CVSS2
    try:
        # The longest vector with all optional metrics has fewer than 300 characters.
        return float(kind(vector[:300]).scores()[0] if kind is not CVSS4 else kind(vector[:300]).base_score)
    except (CVSSError, ValueError, KeyError, ArithmeticError):
        return None


def worst(ratings: Iterable[Severity]) -> Severity:
    """Return the highest of several ratings, ``unknown`` only where nothing else is known."""
    known = [rating for rating in ratings if rating in RATINGS]
    return max(known, key=RATINGS.index) if known else "unknown"


def exceeds(rating: Severity, limit: Severity) -> bool:
    """Return whether a rating is above a limit; one that is unknown is above every limit but the highest."""
    if rating == "unknown":
        return limit != RATINGS[-1]
    return RATINGS.index(rating) > RATINGS.index(limit)


assert set(RATINGS) | {"unknown"} == set(get_args(Severity))
