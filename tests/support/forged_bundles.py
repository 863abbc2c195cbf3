"""Forges bundles: spoils a good one and repairs every digest, so that one rule only is broken."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lading.bundle import Bundle, Draft, unpack_tar, write_bundle
from lading.errors import LadingError

Tree = dict[str, Any]


def dump(tree: Tree) -> bytes:
    """Encode as the format does, but also what it refuses (NaN)."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seal(tree: Tree) -> Tree:
    rest = {key: value for key, value in tree.items() if key != "seal"}
    return {**rest, "seal": hashlib.sha256(dump(rest)).hexdigest()}


def rewrite(path: Path, change: Callable[[Tree], object] = bool) -> Path:
    """Apply `change` to the manifest, after bringing digests and sizes up to date; seal it again."""
    tree = json.loads((path / "bundle.json").read_bytes())
    for name in tree["files"]:
        if (path / name).is_file():
            data = (path / name).read_bytes()
            tree["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    change(tree)
    (path / "bundle.json").write_bytes(dump(seal(tree)))
    return path


def put(path: Path, name: str, data: bytes) -> Path:
    """Replace or add a file and name it in the manifest."""
    (path / name).write_bytes(data)
    return rewrite(path, lambda tree: tree["files"].update({name: entry(data)}))


def entry(data: bytes) -> Tree:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def forge_golden_output(path: Path) -> None:
    """Change one expected probability and repair every digest, as an attacker or a broken packer would."""
    bundle = Bundle.open(path)
    samples = bundle.samples()
    samples.outputs["probabilities"][3, 1] += np.float32(0.25)
    manifest = bundle.manifest
    values = {name: getattr(manifest, name) for name in Draft.__struct_fields__}
    model = (path / "model.onnx").read_bytes()
    requirements = (path / "requirements.txt").read_text()
    shutil.rmtree(path)
    write_bundle(path, Draft(**values), model=model, samples=samples, requirements=requirements)


def header(name: str, size: int = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """Make a ustar header as the format has it; `fields` replace link, mode, time or magic."""
    block = bytearray(512)
    block[:100] = name.encode()[:100].ljust(100, b"\0")
    block[100:108] = fields.get("mode", b"0000755\0" if kind == b"5" else b"0000644\0")
    block[108:124] = b"0000000\0" * 2
    block[124:136] = b"%011o\0" % size
    block[136:148] = fields.get("time", b"00000000000\0")
    block[156:157] = kind
    block[157:257] = fields.get("link", b"").ljust(100, b"\0")
    block[257:265] = fields.get("magic", b"ustar\x0000")
    block[329:345] = b"0000000\0" * 2
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    return header(name, len(data), kind, **fields) + data + bytes(-len(data) % 512)


def members(path: Path, name: str = "iris") -> list[bytes]:
    """Return the members of the tar form of whatever is in the directory `path`."""
    root = f"lading/bundles/{name}"
    head = [member(f"{at}/", kind=b"5") for at in ("lading", "lading/bundles", root)]
    files = sorted(file.name for file in path.iterdir() if file.name != "bundle.json" and file.is_file())
    order = ["bundle.json", *files] if (path / "bundle.json").exists() else files
    parts = head + [member(f"{root}/{file}", (path / file).read_bytes()) for file in order]
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        parts.append(member(f"{root}/{folder.name}/", kind=b"5"))
        for file in sorted(folder.iterdir()):
            parts.append(member(f"{root}/{folder.name}/{file.name}", file.read_bytes()))
    return parts


def tar(parts: list[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(parts) + bytes(1024))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return everything below `folder`, to show that an attack wrote nothing."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused_directory(path: Path, kind: type[LadingError], *words: str) -> LadingError:
    with pytest.raises(LadingError) as caught:
        Bundle.open(path)
    return _exactly(caught.value, kind, words)


def refused_tar(source: io.BytesIO, folder: Path, kind: type[LadingError], *words: str) -> LadingError:
    """Unpack into a new directory below `folder`; whatever happens, nothing may be left behind."""
    before = snapshot(folder)
    with pytest.raises(LadingError) as caught:
        unpack_tar(source, folder / "unpacked")
    assert snapshot(folder) == before
    return _exactly(caught.value, kind, words)


def refused_both(path: Path, kind: type[LadingError], *words: str) -> None:
    """Expect the same refusal of the directory and of its tar form."""
    refused_directory(path, kind, *words)
    refused_tar(tar(members(path)), path.parent, kind, *words)


def _exactly(error: LadingError, kind: type[LadingError], words: tuple[str, ...]) -> LadingError:
    assert type(error) is kind, f"{type(error).__name__}: {error}"
    for word in words:
        assert word in str(error), str(error)
    assert "\x1b" not in str(error)
    str(error).encode()
    return error
