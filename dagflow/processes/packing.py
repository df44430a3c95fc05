"""Packing: records, completions and errors as values of messages, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dagflow.completion import Completion
from dagflow.errors import InvalidField, PluginBug, RecordError, WorkerError, describe
from dagflow.processes.messages import Fault, Packed
from dagflow.record import NO_META, Record

_COMPLETION: Final = 1  # the code of the extension
NOT_PACKED: Final = (TypeError, ValueError, OverflowError, RecursionError)


def _as_extension(value: Any) -> Any:
    if isinstance(value, Completion):
        if value.is_live or value.error is not None:
            raise TypeError("a completion that is not whole")
        return msgspec.msgpack.Ext(_COMPLETION, encode(value.as_dict()))
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"`{type(value).__name__}`")


def _from_extension(_code: int, data: memoryview) -> Any:
    return Completion.from_dict(msgspec.msgpack.decode(data))


encode: Final = msgspec.msgpack.Encoder(enc_hook=_as_extension).encode


def decoder_of(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Give a decoder of one kind of value."""
    return msgspec.msgpack.Decoder(kind, ext_hook=_from_extension)


def pack_record(record: Record) -> Packed:
    """Give what travels of a record; whether its values can is known when it is encoded."""
    meta = record.meta
    return Packed(
        record.id, record.session, record.priority, record.deadline, {} if meta is NO_META else dict(meta), dict(record)
    )


def unpack_record(packed: Packed) -> Record:
    """Give the record; deadlines are on the clock of the machine, which all its processes share."""
    meta = packed.meta or NO_META
    return Record(packed.fields, packed.id, packed.session, packed.priority, packed.deadline, meta)


def blame(record: Record, error: Exception) -> Exception:
    """Find the field that cannot travel; else give the error."""
    for name, value in {**record, "meta": record.meta}.items():
        try:
            encode(value)
        except NOT_PACKED:
            return InvalidField(name, f"something that can go to another process ({error})", value)
    return error


def pack_error(error: BaseException) -> Fault:
    """Give what travels of an error."""
    if not isinstance(error, RecordError):
        error = PluginBug(error)
    fault = Fault(error.code, describe(error), error.retryable, error.retry_after, error.ends_run, error.node)
    if isinstance(error, WorkerError):
        fault.kind, fault.status, fault.worker = error.kind, error.status, error.worker
    return fault


def unpack_error(fault: Fault) -> RecordError:
    """Give an error that says and means the same."""
    error: Any
    if fault.kind is not None:
        error = WorkerError(fault.kind, fault.message, status=fault.status)
        error.worker = fault.worker
    else:
        error = RecordError(fault.message)
    error.code, error.retryable, error.retry_after = fault.code, fault.retryable, fault.retry_after
    error.ends_run, error.node = fault.ends_run, fault.node
    return error
