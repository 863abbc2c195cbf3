"""The caller's trace in W3C's headers."""

from __future__ import annotations

import pytest

from lading.server.observe.trace_context import TraceContext, trace_context, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("03", True)])
def test_a_valid_header_names_the_trace(flags, is_sampled):
    headers = {b"traceparent": f"00-{TRACE}-{SPAN}-{flags}".encode(), b"tracestate": b"vendor=1"}
    assert trace_context(headers) == TraceContext(TRACE, SPAN, is_sampled, "vendor=1")
    assert trace_id(headers) == TRACE


def test_a_later_version_may_have_more_fields():
    headers = {b"traceparent": f"01-{TRACE}-{SPAN}-01-more".encode()}
    assert trace_context(headers) == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * 600}",
    ],
)
def test_what_is_not_valid_is_no_trace(text):
    headers = {b"traceparent": text.encode()}
    assert trace_context(headers) is None
    assert trace_id(headers) == ""


def test_a_request_without_the_header_belongs_to_no_trace():
    assert trace_id({}) == ""
