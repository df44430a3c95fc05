"""What travels between a pipeline and a remote worker: the same on both sides, and checked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Embeddings, Request, Usage
from dagflow.remote import wire
from dagflow.remote.protocol import DESCRIPTOR, PROTO, messages

CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def test_the_compiled_descriptor_is_that_of_the_proto(tmp_path):
    """Whoever changes the proto compiles it anew."""
    root = PROTO.parents[3]
    compiled = tmp_path / "worker.desc"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"--descriptor_set_out={compiled}"]
    subprocess.run([*command, str(PROTO.relative_to(root))], check=True, cwd=root)
    kinds = {kind.DESCRIPTOR.name for kind in vars(messages()).values()}
    assert compiled.read_bytes() == DESCRIPTOR.read_bytes()
    assert kinds >= {"InferRequest", "Completion", "Chunk", "Embeddings", "Fault", "HealthReply"}


@pytest.mark.parametrize(
    "request_",
    [
        Request(prompt="Why?"),
        Request(prompt=""),
        Request(messages=[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": None}]),
        Request(prompt="x", model="m", parameters={"stop": ["a"], "n": 1}, session="s", priority=2.5),
        Request(prompt="x", metadata={"id": "r:1", "node": "ask"}),
    ],
)
def test_requests(request_):
    """All but what belongs to the pipeline."""
    packed = messages().InferRequest.FromString(wire.pack_request(request_).SerializeToString())
    assert wire.unpack_request(packed, None) == request_


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages_json": "nothing"}, "`messages_json`"),
        ({"messages_json": '{"role": "user"}'}, "`messages_json`"),
        ({"messages_json": "[1]"}, "something else than messages"),
        ({"prompt": "x", "parameters_json": "[]"}, "`parameters_json`"),
    ],
)
def test_requests_of_others_are_checked(fields, said):
    """A client may be written in any language."""
    with pytest.raises(WorkerError, match=said) as caught:
        wire.unpack_request(messages().InferRequest(**fields), None)
    assert caught.value.kind == "refused"


def test_what_json_cannot_hold_is_refused():
    """Before it is sent."""
    with pytest.raises(WorkerError, match="can't be sent"):
        wire.pack_request(Request(prompt="x", parameters={"a": object()}))


@pytest.mark.parametrize(
    "completion",
    [
        Completion("text", "stop", "m", Usage(1, 2, 1, 0.5)),
        Completion("", "tool_calls", None, None, CALLS, "because"),
        Completion("é\u2028", "length", "m", Usage(0, 0)),
    ],
)
def test_completions(completion):
    """Whole, and as chunks."""
    packed = messages().Completion.FromString(wire.pack_completion(completion).SerializeToString())
    assert wire.unpack_completion(packed).as_dict() == completion.as_dict()


def test_chunks():
    """In the middle, and at the end."""
    for chunk in (Chunk("a"), Chunk("", "stop", Usage(1, 2), "m", ({"index": 0, **CALLS[0]},), "r")):
        packed = messages().Chunk.FromString(wire.pack_chunk(chunk).SerializeToString())
        assert wire.unpack_chunk(packed) == chunk


def test_answers_of_others_are_checked():
    """A server may be written in any language."""
    with pytest.raises(WorkerError, match="`finish_reason`") as caught:
        wire.unpack_completion(messages().Completion(text="x"))
    assert caught.value.kind == "protocol"
    with pytest.raises(WorkerError, match="`tool_calls_json`") as caught:
        wire.unpack_chunk(messages().Chunk(tool_calls_json="{"))
    assert caught.value.kind == "protocol"


def test_vectors():
    """With and without a usage."""
    for vectors in (Embeddings([[1.0, 0.5], [0.0, -1.0]], Usage(3), "m"), Embeddings()):
        back = wire.unpack_embeddings(wire.pack_embeddings(vectors))
        assert back == vectors
        assert (back.usage, back.model) == (vectors.usage, vectors.model)
    assert wire.unpack_embeddings(wire.pack_embeddings([[1.0]])).usage is None


@pytest.mark.parametrize("kind", WorkerError.KINDS)
def test_faults(kind):
    """Each kind, with what was said of trying again."""
    for error in (WorkerError(kind, "no"), WorkerError(kind, "no", retryable=True, retry_after=2.5, status=429)):
        back = wire.unpack_fault(wire.pack_fault(error).SerializeToString())
        told = [(e.kind, str(e), e.retryable, e.retry_after, e.status) for e in (error, back)]
        assert told[0] == told[1]
    assert kind in wire.STATUS_OF


def test_a_bug_of_the_worker():
    """It is told as a fault of the protocol, since it says nothing of the request."""
    assert wire.unpack_fault(wire.pack_fault(ValueError("oops")).SerializeToString()).kind == "protocol"


def test_a_kind_that_nobody_knows():
    """A later version may have more."""
    fault = messages().Fault(kind="sleepy", message="zzz", retryable=True)
    error = wire.unpack_fault(fault.SerializeToString())
    assert (error.kind, error.retryable) == ("protocol", True)
    assert "`sleepy`" in str(error)


def test_what_is_no_fault():
    """A server that tells garbage has failed in the protocol."""
    error = wire.unpack_fault(b"\xff\xff")
    assert (error.kind, str(error)) == ("protocol", "the server failed, and what it tells of that is no `Fault`")


@pytest.mark.parametrize("after", [float("nan"), float("inf"), -1.0])
def test_a_wait_that_is_none(after):
    """It is not waited for."""
    fault = messages().Fault(kind="overloaded", message="m", retry_after_s=after)
    assert wire.unpack_fault(fault.SerializeToString()).retry_after is None


@pytest.mark.parametrize(
    "usage", [{"input_tokens": -1}, {"cost": float("nan")}, {"cost": float("inf")}, {"cost": -1.0}]
)
def test_a_usage_that_cannot_be(usage):
    """It would spoil sums and budgets."""
    packed = messages().Completion(text="a", finish_reason="stop", usage=messages().Usage(**usage))
    with pytest.raises(WorkerError, match="`usage`") as caught:
        wire.unpack_completion(packed)
    assert caught.value.kind == "protocol"


@pytest.mark.parametrize("priority", [float("nan"), float("inf")])
def test_a_priority_that_is_none(priority):
    """It would have no place in a line."""
    with pytest.raises(WorkerError, match="`priority`") as caught:
        wire.unpack_request(messages().InferRequest(prompt="x", priority=priority), None)
    assert caught.value.kind == "refused"


def test_tool_calls_that_are_none():
    """They are checked as the rest is."""
    with pytest.raises(WorkerError, match="`tool_calls_json`") as caught:
        wire.unpack_chunk(messages().Chunk(tool_calls_json='["x"]'))
    assert caught.value.kind == "protocol"
