"""Every page, its data beside it, and the whole history of each model, as files of one moment.

What all models and servers are is read once. What a page reads itself is as new as its file, and says when.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

import lading
from lading.clock import iso_time
from lading.errors import ModelNotFound, RegistryUnavailable, RunFailed, UsageError
from lading.hub.app import make_app
from lading.hub.drawing import Drawing
from lading.hub.export.asking import ask
from lading.hub.export.folder import ABOUT, SUMS, written_whole
from lading.hub.export.names import Address, file_of, relative
from lading.hub.export.rewriting import links_of, rewritten
from lading.hub.follower import Follower
from lading.hub.knowledge import Knowledge
from lading.hub.views.history import events_csv
from lading.registry import Registry
from lading.release import Event

MOST_PAGES = 10_000
"""More pages than that are no export that anybody reads: some models at a time are."""

_MOST_TRIES = 5
_OVERVIEWS = ("/", "/models", "/inventory", "/vulnerabilities", "/alarms", "/runs", "/history")
# Where a table goes on, and what a page is about. Orders and searches of a table have the same rows again.
_KEPT_PARAMETERS = frozenset({"below", "before", "page", "since"})
# Pages that ask what to do. Nothing can be done from a disk.
_ACTS = re.compile(r"/models/[^/]+/(release/.+|[^/]+/release)")
# What people sent to models does not go with pages about them: that is for those who keep the log to decide.
_LEFT_OUT = re.compile(r"/(language|sign-in|sign-out|log|api/openapi\.json)(/.*)?")

OnPage = Callable[[int, str], None]
"""Called with how many pages are done, and the path of the next."""


class ExportedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose history is complete in the export; ``broken`` is what is wrong with it, or empty."""

    name: str
    versions: int
    events: int
    broken: str
    file: str


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was exported, as ``export.json`` has it. ``models`` limited it, if any did."""

    lading: str
    registry: str
    read_at: str
    limited_to: list[str]
    pages: int
    models: list[ExportedModel]


def export(
    registry: Registry,
    folder: Path,
    models: Sequence[str] = (),
    *,
    language: str = "en",
    on_page: OnPage = lambda _count, _path: None,
    most_pages: int = MOST_PAGES,
) -> Exported:
    """Write the pages of all models, or of those named, to `folder`, which an earlier export may be in.

    Raises `UsageError` for a folder that has other files, and for more than `most_pages` pages,
    `ModelNotFound`, and `RegistryUnavailable` if it does not answer all the while.
    """
    follower = Follower(registry)
    follower.read()
    knowledge = follower.known.knowledge
    if knowledge is None:
        raise RegistryUnavailable("the registry", expected="an answer", found=follower.known.failure)
    for name in models:
        if name not in knowledge.newest:
            where, hint = f"model `{name}`", "`lading list` lists all models"
            raise ModelNotFound(
                where, expected="a model of the registry", found="none", hint=hint, model=name
            )
    least = _least_pages(knowledge, models)
    if least > most_pages:
        raise _too_many(least, most_pages)
    with written_whole(folder) as part:
        writer = _Writer(make_app(registry, follower), knowledge, models, language, part)
        writer.on_page, writer.most_pages = on_page, most_pages
        return asyncio.run(writer.write(registry.where))


def _least_pages(knowledge: Knowledge, models: Sequence[str]) -> int:
    """Return how many pages there are at least: of models and versions, and of servers unless limited."""
    # Numbers of versions begin with 1, and few are ever removed.
    pages = sum(2 + knowledge.newest[name].version for name in models or knowledge.newest)
    return pages if models else pages + len(knowledge.replicas) + len(_OVERVIEWS)


def _too_many(pages: int, most: int) -> UsageError:
    hint = "`--model NAME` limits it to a model, and may be given more than once"
    return UsageError("the export", expected=f"at most {most:,} pages", found=f"{pages:,} or more", hint=hint)


class _Writer:
    """Follows links from page to page, keeps each as it came, and then has its links lead to files."""

    on_page: OnPage
    most_pages: int

    def __init__(
        self, app: Any, knowledge: Knowledge, models: Sequence[str], language: str, folder: Path
    ) -> None:
        self._app, self._knowledge, self._language, self._folder = app, knowledge, language, folder
        self._models = list(dict.fromkeys(models))
        self._files: dict[Address, str] = {}
        self._stylesheets: list[str] = []
        self._owners: dict[str, Address] = {}
        self._histories: list[ExportedModel] = []

    async def write(self, where: str) -> Exported:
        """Write everything but the hashes; return what that is."""
        pages = await self._pages()
        about = Exported(
            lading=lading.__version__,
            registry=where,
            read_at=iso_time(self._knowledge.read_at),
            limited_to=self._models,
            pages=len(pages),
            models=sorted(self._histories, key=lambda model: model.name),
        )
        drawing = Drawing(where)
        for page in pages:
            file = self._files[page]
            index = relative("index.html", file)
            note = drawing.draw("kept.html", self._language, about=about, index=index)
            path = self._folder / file
            # Only now: a link leads to a file if that page could be read.
            resolve = _resolver(self, page, file)
            path.write_text(rewritten(path.read_text("utf-8"), resolve, note), "utf-8")
        self._write_index(drawing, about)
        (self._folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
        return about

    async def _pages(self) -> list[Address]:
        """Read pages until no link leads to another one; return them in order."""
        if self._models:
            waiting = deque(Address(f"/models/{name}") for name in self._models)
        else:
            waiting = deque(Address(path) for path in _OVERVIEWS)
        # Of a model that was never released, no page links to the history.
        names = self._models or sorted(self._knowledge.newest)
        waiting.extend(Address(f"/history/{name}") for name in names)
        seen, pages = set(waiting), list[Address]()
        while waiting:
            page = waiting.popleft()
            self.on_page(len(pages), page.path)
            text = await self._page(page)
            if text is None:
                continue
            pages.append(page)
            if len(pages) > self.most_pages:
                raise _too_many(len(pages), self.most_pages)
            for href in links_of(text):
                target = Address.of(href, page)
                if target is not None and target not in seen and self._is_wanted(target):
                    seen.add(target)
                    if target.path.startswith("/static/"):
                        await self._asset(target)
                    elif target.path.startswith("/api/"):
                        await self._download(target)
                    else:
                        waiting.append(target)
        return pages

    def _is_wanted(self, target: Address) -> bool:
        """Return whether a link leads to a page, a table or a file that is to be kept."""
        path, parameters = target.path, target.parameters
        if path.startswith("/static/"):
            return path.endswith((".css", ".svg", ".png", ".ico"))
        if path.startswith("/api/"):
            return (
                path.endswith(".csv")
                and target.parts[1] != "history"
                and self._is_of_models(target.parts[1:])
            )
        if _ACTS.fullmatch(path) or _LEFT_OUT.fullmatch(path):
            return False
        if path in ("/alarms", "/runs") and "model" in parameters:
            name = parameters.pop("model")
            return parameters.keys() <= _KEPT_PARAMETERS and name in (self._models or self._knowledge.newest)
        return parameters.keys() <= _KEPT_PARAMETERS and self._is_of_models(target.parts)

    def _is_of_models(self, parts: list[str]) -> bool:
        if not self._models or len(parts) < 2:
            return not self._models
        # Pages of a model lead to its own runs alone.
        return parts[0] == "runs" or (parts[0] in ("models", "history") and parts[1] in self._models)

    async def _page(self, page: Address) -> str | None:
        """Keep a page as it came and its data; return it, or None if it no longer exists."""
        answer = await ask(self._app, page, self._language)
        if answer.status == 404:
            # Such as a version that only a foreign server has: the link to it becomes its text.
            return None
        data_path = "/api" + ("/home" if page.path == "/" else page.path)
        data = await self._ask(Address(data_path, page.query))
        _check(page, answer.status, answer.body)
        stale = msgspec.json.decode(data).get("stale")
        if stale:
            raise RegistryUnavailable(f"`{page.path}`", expected="an answer of now", found=str(stale))
        # As it came: which of its links lead to a file is known only when all pages are read.
        self._keep(page, ".html", answer.body)
        self._write_file(f"{file_of(page)}.json", data)
        parts = page.parts
        if len(parts) == 2 and parts[0] == "history" and not page.query:
            await self._history(parts[1], page)
        return answer.body.decode()

    async def _ask(self, address: Address) -> bytes:
        answer = await ask(self._app, address, self._language)
        _check(address, answer.status, answer.body)
        return answer.body

    async def _history(self, name: str, page: Address) -> None:
        """Keep all events of a model, of which the check says whether they are as they were written."""
        for _ in range(_MOST_TRIES):
            whole = await self._ask(Address(f"/api/history/{name}.json"))
            check = msgspec.json.decode(await self._ask(Address("/api" + page.path)))["data"]["check"]
            events = msgspec.json.decode(whole)["events"]
            # An event in between would be in one of the two alone.
            if check["events"] == len(events):
                break
        else:
            counts = f"{len(events)} and {check['events']}"
            raise RunFailed(
                f"history of `{name}`", expected="one number of events in both readings", found=counts
            )
        # From the same events: a second reading could have one more.
        table = events_csv(msgspec.convert(events, list[Event]))
        for form, content in (("json", whole), ("csv", table.encode())):
            address = Address(f"/api/history/{name}.{form}")
            self._keep(address, f".{form}", content, f"{file_of(page)}~~events")
        newest = self._knowledge.newest.get(name)
        self._histories.append(
            ExportedModel(
                name=name,
                versions=newest.version if newest is not None else 0,
                events=len(events),
                broken=check["broken"],
                file=f"{file_of(page)}.html",
            )
        )

    async def _asset(self, address: Address) -> None:
        name = address.parts[-1]
        stem, _, suffix = name.rpartition(".")
        self._keep(address, f".{suffix}", await self._ask(address), f"assets/{file_of(Address('/' + stem))}")
        if suffix == "css":
            self._stylesheets.append(self._files[address])

    async def _download(self, address: Address) -> None:
        path = address.path.removeprefix("/api").removesuffix(".csv")
        self._keep(address, ".csv", await self._ask(address), file_of(Address(path, address.query)))

    def _keep(self, address: Address, suffix: str, content: bytes, stem: str = "") -> None:
        file = (stem or file_of(address)) + suffix
        self._write_file(file, content)
        self._files[address] = file
        owner = self._owners.setdefault(file, address)
        if owner != address:
            # Names are made so that this cannot be; if it could, one page would silently be another.
            raise RunFailed(f"`{file}`", expected="one page", found=f"`{owner.path}` and `{address.path}`")

    def _write_file(self, file: str, content: bytes) -> None:
        path = self._folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def target(self, page: Address, href: str) -> str | None:
        """Return the file that a link of a page leads to: None for none, empty for one to be left out."""
        address = Address.of(href, page)
        if address is None:
            return None
        if _LEFT_OUT.fullmatch(address.path) or _ACTS.fullmatch(address.path):
            return ""
        file = self._files.get(address)
        if file is None and address.path.startswith("/api/"):
            path = address.path.removeprefix("/api")
            html = self._files.get(Address("/" if path == "/home" else path, address.query))
            file = html.removesuffix(".html") + ".json" if html is not None else None
        _, mark, fragment = href.partition("#")
        return f"{file}{mark}{fragment}" if file is not None else None

    def _write_index(self, drawing: Drawing, about: Exported) -> None:
        overviews = [path for path in _OVERVIEWS if Address(path) in self._files]
        text = drawing.draw(
            "export.html",
            self._language,
            about=about,
            stylesheets=self._stylesheets,
            overviews=[(path, self._files[Address(path)]) for path in overviews],
            pages={model.name: self._files.get(Address(f"/models/{model.name}")) for model in about.models},
            downloads=lambda model: model.file.removesuffix(".html") + "~~events",
            sums=SUMS,
        )
        (self._folder / "index.html").write_text(text, "utf-8")


def _resolver(writer: _Writer, page: Address, file: str) -> Callable[[str], str | None]:
    def resolve(href: str) -> str | None:
        target = writer.target(page, href)
        return relative(target, file) if target else target

    return resolve


def _check(address: Address, status: int, body: bytes) -> None:
    if status == 200:
        return
    text = body.decode(errors="replace")
    if body.startswith(b"{"):
        text = str(msgspec.json.decode(body).get("message", text))
    # A half of an export would look like a whole one.
    raise RegistryUnavailable(f"`{address.path}`", expected="a page", found=f"status {status}: {text[:300]}")
