"""Every text that a page has for people, with what marks it: what one can see, and what a screen reader says.

Texts of a chart, of options and of closed details count, and so do titles, labels and hints of fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Page

_TEXTS = """
() => {
  const own = document.documentElement.lang;
  const mark = (element) => {
    if (element.closest("code, pre, kbd")) return "code";
    const data = element.closest("[translate]");
    if (data && data.getAttribute("translate") === "no") return "data";
    const language = element.closest("[lang]").lang;
    return language === own ? "" : language;
  };
  const texts = [["title", "", document.title]];
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const element = nodes.currentNode.parentElement;
    const text = nodes.currentNode.data.replace(/\\s+/g, " ").trim();
    if (text && !element.closest("script, style")) texts.push([element.localName, mark(element), text]);
  }
  for (const name of ["aria-label", "title", "alt", "placeholder", "aria-description", "label"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
      texts.push([`${element.localName}[${name}]`, mark(element), element.getAttribute(name)]);
    }
  }
  for (const element of document.querySelectorAll("#words")) {
    for (const [name, text] of Object.entries(element.dataset)) texts.push([`data-${name}`, "", text]);
  }
  return texts;
}
"""

_QUOTED = re.compile("`[^`]*`")
# Identifiers, addresses and values of settings are no words of a language.
_WORD = re.compile(r"(?<![\w./:@=&{-])[A-Za-z]{2,}(?![\w/@={}-]|[.:][\w/])")


class PageText(NamedTuple):
    """A text of a page: its element, what marks it (code, data, a language or nothing), and the text."""

    element: str
    mark: str
    text: str


def texts_of(page: Page) -> Iterator[PageText]:
    """Iterate over all texts of a page that is open."""
    for element, mark, text in page.evaluate(_TEXTS):
        yield PageText(element, mark, text)


def words_of(text: str) -> list[str]:
    """Return the words in Latin letters of a text, without what it quotes as code."""
    return _WORD.findall(_QUOTED.sub("`", text))
