"""ONNX Runtime's errors: their classes, and their messages as one sentence without C++ signature or stack."""

from __future__ import annotations

import re
from functools import cache

from lading.onnx_runtime import import_onnxruntime

# The shapes of ONNX Runtime's messages up to 1.31: `onnxruntime/core/common/status.cc` writes the prefix,
# `code_location.h` the source position, `sequential_executor.cc` the name of the node.
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_SOURCE = re.compile(r"(/onnxruntime_src/\S+|\b\w+\.(?:cc|h|cpp)):\d+ ")
_NODE = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)
_TEMPLATE = re.compile(r"^ ?\[with [^\]]*\] ?")
_ASSERTION = re.compile(r"^.{1,300}? was false\. ")
_LOADING = re.compile(r"^Load model from .*? failed: ?")
# `graph.cc`: the whole node with the types of what goes in and out, before the reason.
_IN_NODE = re.compile(r'^In Node, \("([^"]*)", (\w+), "[^"]*", -?\d+\) : .* , Error (.*)$')
_GUARANTEE = re.compile(r"^ONNX Runtime only \*guarantees\* .* Current official ")
_EMPTY_WORDS = (
    "Exception during loading: ",
    "Exception during initialization: ",
    "This is an invalid model. ",
    "Invalid model. ",
    "Fatal error: ",
    "Error: ",
    "<lambda()> ",
)
_TOO_NEW = "convert the model again for an older version, or use a newer ONNX Runtime"
_CUSTOM = "an operator of another library cannot be served: export the model with operators of ONNX"
_HINTS = (
    ("max supported IR version", _TOO_NEW),
    ("support for domain", _TOO_NEW),
    ("is not a registered function/op", _CUSTOM),
    ("No Op registered for", _CUSTOM),
    ("No opset import for domain", _CUSTOM),
    ("Could not find an implementation", "export the model for another opset, or with another dtype there"),
)
_MAX_LENGTH = 400
# `bfc_arena.cc`: above the limit of `limit_memory`, and where the system itself has no more.
_OVER_LIMIT = re.compile(r"Available memory of (\d+) is smaller than requested bytes of (\d+)")
_NO_MEMORY = re.compile(r"Failed to allocate memory for requested buffer of size (\d+)|std::bad_alloc")


@cache
def session_errors() -> tuple[type[Exception], ...]:
    """Return the classes of what a session raises; raises `ExtraMissing`."""
    import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    # ONNX Runtime's own errors share no base below `Exception`.
    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def error_sentence(error: BaseException) -> str:
    """Return the message of `error` on one line of at most 400 characters."""
    text = str(error).partition("\nStacktrace:")[0]
    # These sentences reach the inventory and clients, and the model's path on the host must not.
    text = _LOADING.sub("", " ".join(_PREFIX.sub("", text).split()))
    node = _NODE.search(text)
    if node:
        kind, name = node.groups()
        cause = _without_sources(text[node.end() :])
        text = f"{kind} node `{name}`: {cause}" if name else f"{kind} node: {cause}"
    else:
        text = _without_empty_words(_without_sources(text))
        text = _IN_NODE.sub(_short_node, _GUARANTEE.sub("Current official ", text))
    text = text.rstrip(". ") or type(error).__name__
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ONNX Runtime found too little memory."""
    text = str(error)
    return isinstance(error, MemoryError) or bool(_OVER_LIMIT.search(text) or _NO_MEMORY.search(text))


def memory_in_error(error: BaseException) -> tuple[int, int]:
    """Return the bytes that were left and those that were needed at once, 0 where the message has none."""
    over = _OVER_LIMIT.search(str(error))
    if over:
        return int(over[1]), int(over[2])
    missing = _NO_MEMORY.search(str(error))
    return 0, int(missing[1] or 0) if missing else 0


def hint_of(sentence: str) -> str | None:
    """Return what the author of a model can do about an `error_sentence`, or None."""
    return next((hint for words, hint in _HINTS if words in sentence), None)


def _without_empty_words(text: str) -> str:
    """Cut off what says that something failed and not what."""
    while start := next((words for words in _EMPTY_WORDS if text.startswith(words)), ""):
        text = text.removeprefix(start)
    return text


def _short_node(match: re.Match[str]) -> str:
    name, kind, reason = match.groups()
    return f"{kind} node `{name}`: {reason}" if name else f"{kind} node: {reason}"


def _without_sources(text: str) -> str:
    """Cut out each source position with the C++ function signature that follows it."""
    while match := _SOURCE.search(text):
        rest = _after_signature(text[match.end() :])
        before = text[: match.start()]
        text = f"{before}{_ASSERTION.sub('', rest)}"
    return text


def _after_signature(text: str) -> str:
    """Return what follows the C++ function at the start of `text`."""
    name, _, rest = text.partition(" ")
    if "::" not in text.partition("(")[0] or "(" not in text:
        return rest if name.isidentifier() else text  # a bare function name, without parameters
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return _TEMPLATE.sub("", text[index + 1 :].removeprefix(" const")).lstrip(" :")
    return text
