"""ONNX Runtime's messages as one sentence of ours: no C++ signature, source path or stack. Judges nothing."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_SOURCE = re.compile(r"(/onnxruntime_src/\S+|\b\w+\.(?:cc|h|cpp)):\d+ ")
_NODE = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)
_TEMPLATE = re.compile(r"^ ?\[with [^\]]*\] ?")
_ASSERTION = re.compile(r"^.{1,300}? was false\. ")
_LOADING = re.compile(r"^Load model from .*? failed: ?")
_LONGEST = 400


def sentence(error: BaseException) -> str:
    """Return what `error` says, on one line of at most 400 characters."""
    text = str(error).partition("\nStacktrace:")[0]
    # The path of the model is the host's matter: these sentences reach the inventory and the client.
    text = _LOADING.sub("", " ".join(_PREFIX.sub("", text).split()))
    node = _NODE.search(text)
    if node:
        kind, name = node.groups()
        cause = _clean(text[node.end() :])
        text = f"{kind} node `{name}`: {cause}" if name else f"{kind} node: {cause}"
    else:
        text = _clean(text)
    text = text.rstrip(". ") or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _clean(text: str) -> str:
    """Cut out each source position with the C++ function signature that follows it."""
    while found := _SOURCE.search(text):
        rest = _after_signature(text[found.end() :])
        before = text[: found.start()]
        text = f"{before}{_ASSERTION.sub('', rest)}"
    return text


def _after_signature(text: str) -> str:
    """Return what follows the function at the start of `text`; a bare function name has no parentheses."""
    name, _, rest = text.partition(" ")
    if "::" not in text.partition("(")[0] or "(" not in text:
        return rest if name.isidentifier() else text
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return _TEMPLATE.sub("", text[at + 1 :].removeprefix(" const")).lstrip(" :")
    return text
