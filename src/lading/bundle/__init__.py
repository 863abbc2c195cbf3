"""The artefact: one packed model version, described rule by rule in FORMAT.md.

Reading a bundle executes nothing: no pickle, no import, no session. Whether the model runs and gives the
right answers is checked by verify and by the server.
"""

from __future__ import annotations

from lading.bundle.archive import BlobInfo, read_archive_files, read_archive_manifest
from lading.bundle.manifest import (
    FORMATS,
    LOCK_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    PROFILE_FILE,
    REQUIREMENTS_FILE,
    SAMPLES_FILE,
    Draft,
    FileEntry,
    Manifest,
    Training,
    canonical_json,
)
from lading.bundle.reader import Bundle
from lading.bundle.samples import MAX_ROWS, Samples
from lading.bundle.writer import add_profile, unpack_tar, write_bundle

__all__ = [
    "FORMATS",
    "LOCK_FILE",
    "MANIFEST_FILE",
    "MAX_ROWS",
    "MODEL_FILE",
    "PROFILE_FILE",
    "REQUIREMENTS_FILE",
    "SAMPLES_FILE",
    "BlobInfo",
    "Bundle",
    "Draft",
    "FileEntry",
    "Manifest",
    "Samples",
    "Training",
    "add_profile",
    "canonical_json",
    "read_archive_files",
    "read_archive_manifest",
    "unpack_tar",
    "write_bundle",
]
