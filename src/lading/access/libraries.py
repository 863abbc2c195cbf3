"""Whether an access file can be kept to here: tokens and certificates take libraries of their own."""

from __future__ import annotations

from lading.access.certificates import require_reader
from lading.access.file import AccessFile


def check_libraries(file: AccessFile) -> None:
    """Raise `ExtraMissing` if tokens or certificates cannot be read here, `InvalidSetting` for keys."""
    if file.issuers:
        # Imported here: most files have keys alone, and need neither its libraries nor their time.
        from lading.access.tokens import check_issuers

        check_issuers(file.issuers)
    if file.certificates:
        require_reader()
