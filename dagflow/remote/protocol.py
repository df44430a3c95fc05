"""Protocol: the messages of `v1/worker.proto`, built from its compiled descriptor.

A descriptor suits every version of protobuf's runtime, which generated code does not. Needs the extra `grpc`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

PACKAGE: Final = "dagflow.worker.v1"
SERVICE: Final = f"{PACKAGE}.Worker"
FAULT_KEY: Final = "dagflow-fault-bin"
"""The key of the trailing metadata that tells why a call failed."""

PROTO: Final = Path(__file__).parent / "v1" / "worker.proto"
DESCRIPTOR: Final = PROTO.with_suffix(".desc")


@cache
def messages() -> Any:
    """Give the classes of the messages, by their names."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())
    pool = descriptor_pool.Default()  # where reflection looks
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindFileByName(files.file[0].name).message_types_by_name
    return SimpleNamespace(**{name: message_factory.GetMessageClass(found[name]) for name in found})
