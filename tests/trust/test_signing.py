"""What is signed: evidence only of this very bundle, and no key of a predicate that is lading's own."""

from __future__ import annotations

import pytest

from lading.errors import (
    AttestationInvalid,
    UsageError,
)
from lading.trust.statement import EVIDENCE, SIGNATURE
from support.signing import statement


def test_evidence_that_is_attested_must_hold_for_this_very_bundle(bundle):
    with pytest.raises(AttestationInvalid, match="expected evidence, found another form"):
        statement(bundle, EVIDENCE, x=1)
    with pytest.raises(UsageError, match="`lading sign` makes it"):
        statement(bundle, SIGNATURE)
    with pytest.raises(UsageError, match="expected no key `lading`"):
        statement(bundle, lading={})
