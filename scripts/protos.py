"""Compile the protos of the gRPC services into the descriptor sets that the server loads.

Each ``src/lading/server/grpc/protos/<name>.proto`` becomes ``_proto/<name>.binpb`` with everything it
imports; files in folders below are only imported. ``--check`` writes nothing and exits 1 if a
set is not what its proto says.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

HERE = Path(__file__).parent.parent / "src/lading/server/grpc"


def compiled(proto: Path) -> bytes:
    """Compile file proto and what it imports; the same text gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set")
        options = [
            "protoc",
            f"-I{HERE / 'protos'}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={out}",
            proto.relative_to(HERE / "protos").as_posix(),
        ]
        if protoc.main(options) != 0:
            raise SystemExit(f"{proto}: protoc refuses it")
        compiled = FileDescriptorSet.FromString(out.read_bytes())
    for file in compiled.file:
        file.ClearField("source_code_info")
    return compiled.SerializeToString(deterministic=True)


def main() -> None:
    """Write the sets, or check them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for proto in sorted((HERE / "protos").glob("*.proto")):
        target = HERE / "_proto" / f"{proto.stem}.binpb"
        data = compiled(proto)
        if target.is_file() and target.read_bytes() == data:
            continue
        stale.append(target.name)
        if not check:
            target.write_bytes(data)
            print(f"wrote {target.relative_to(HERE.parent.parent.parent.parent)}")
    if check and stale:
        raise SystemExit(f"not up to date: {', '.join(stale)}; run `python scripts/protos.py`")


if __name__ == "__main__":
    main()
