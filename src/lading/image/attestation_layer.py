"""What was attested about the bundles of an image, as a layer: a server there may have no registry to ask.

The files are beside the folders of the bundles, where a server looks for them. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lading.bundle.archive import PREFIX
from lading.image.layers import Layer, LayerFile, files_layer
from lading.registry.beside import SUFFIX


def attestation_layer(texts: Mapping[str, Sequence[str]], folder: Path) -> Layer | None:
    """Return the layer of what was attested, by the names of bundles; None if nothing was."""
    files = {
        f"{PREFIX}/{name}{SUFFIX}": LayerFile("".join(f"{line}\n" for line in lines).encode())
        for name, lines in texts.items()
        if lines
    }
    return files_layer(files, folder / "attestations.layer", compress=False) if files else None
