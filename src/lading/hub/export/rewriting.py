"""A page of the hub to one that opens from a disk: links lead to files, what cannot work is left out.

It reads only pages of our own templates, and changes no text but ages, which would be wrong tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from html.parser import HTMLParser

# Nothing of a kept page runs, sends or loads anything, whatever opens it.
_POLICY = (
    "script-src 'none'; object-src 'none'; connect-src 'none'; frame-src 'none'; form-action 'none'; "
    "base-uri 'none'"
)
_LEFT_OUT = frozenset({"form", "script", "noscript", "button"})
_KEPT = frozenset({"class", "aria-current", "lang", "title", "translate"})

Attributes = list[tuple[str, str | None]]


def links_of(page: str) -> list[str]:
    """Return where the links of a page lead, in their order."""
    reader = _Links()
    reader.feed(page)
    return reader.links


def rewritten(page: str, resolve: Callable[[str], str | None], note: str) -> str:
    """Return a page in which `resolve` says where each link leads, None for nowhere.

    A link to nowhere becomes its text; one that `resolve` answers with nothing is left out with it. `note` is
    markup for the foot of the page.
    """
    writer = _Rewriter(resolve, note)
    writer.feed(page)
    writer.close()
    return "".join(writer.out)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self._forms = 0

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self._forms += tag == "form"
        href = dict(attrs).get("href")
        if href and tag in ("a", "link") and not self._forms:
            self.links.append(href)

    def handle_endtag(self, tag: str) -> None:
        self._forms -= tag == "form"


class _Rewriter(HTMLParser):
    def __init__(self, resolve: Callable[[str], str | None], note: str) -> None:
        # Texts stay as they are escaped.
        super().__init__(convert_charrefs=False)
        self.out: list[str] = []
        self._resolve, self._note = resolve, note
        # The element that is left out, and how deep in others of its kind; of a time its text alone.
        self._skipped, self._depth = "", 0
        self._anchors: list[bool] = []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        if self._skipped:
            self._depth += tag == self._skipped
        elif tag in _LEFT_OUT:
            self._skip(tag)
        elif tag == "a":
            self._anchor(attrs)
        elif tag == "link":
            self._link(attrs)
        else:
            self._write(self.get_starttag_text() or "")
            moment = dict(attrs).get("datetime") if tag == "time" else None
            if tag == "head":
                self._write(f'\n<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">')
            elif tag == "footer":
                self._write(f"\n{self._note}")
            elif moment:
                self._write(escape(moment))
                self._skip("time")

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        del tag, attrs
        self._write(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            self._depth -= tag == self._skipped
            if not self._depth:
                self._skipped = ""
                if tag == "time":
                    self._write("</time>")
        elif tag == "a":
            # A link to nowhere has become its text.
            self._write("</a>" if self._anchors.pop() else "</span>")
        else:
            self._write(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._write(data)

    def handle_entityref(self, name: str) -> None:
        self._write(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._write(f"&#{name};")

    def handle_decl(self, decl: str) -> None:
        self._write(f"<!{decl}>")

    def _write(self, text: str) -> None:
        if not self._skipped:
            self.out.append(text)

    def _skip(self, tag: str) -> None:
        self._skipped, self._depth = tag, 1

    def _anchor(self, attrs: Attributes) -> None:
        href = dict(attrs).get("href") or ""
        target = href if href.startswith("#") else self._resolve(href)
        if target == "":
            self._skip("a")
            return
        self._anchors.append(target is not None)
        kept = [(name, value) for name, value in attrs if name in _KEPT]
        if target is None:
            self._write(_tag("span", [each for each in kept if each[0] != "aria-current"]))
        else:
            self._write(_tag("a", [("href", target), *kept]))

    def _link(self, attrs: Attributes) -> None:
        target = self._resolve(dict(attrs).get("href") or "")
        if target:
            self._write(_tag("link", [(n, target if n == "href" else v) for n, v in attrs]))


def _tag(name: str, attrs: Attributes) -> str:
    text = "".join(f' {each}="{escape(value)}"' if value is not None else f" {each}" for each, value in attrs)
    return f"<{name}{text}>"
