"""Hostile requests to the hub: what other sites, strangers in the network and forged cookies try.

Every route that takes a form is tried, by a walk over the routes of the application.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from itsdangerous import URLSafeSerializer
from starlette.routing import Mount, Route

from lading.hub.access import SESSION_S, Access, Session
from lading.release import Plan
from support.hub_pages import text_of
from support.hub_person import KEY, ORIGIN, Form, Person, app_of
from support.hub_server import hub_over
from support.rollout_processes import two_versions

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.

NOW = 1_000_000.0
COOKIE = "lading_session"
VALUES = {"name": "iris", "version": "2", "id": "host-1", "language": "ko", "file": "icon.svg"}
PLAN = Plan(mode="canary", steps=(5, 25))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    opened = two_versions(str(tmp_path_factory.mktemp("hub") / "registry"))
    opened.releases.begin("iris", 2, PLAN, actor="ada")
    yield opened
    opened.catalog.close()


@pytest.fixture(scope="module")
def app(registry):
    return app_of(registry, Access(KEY, lambda: NOW))


@pytest.fixture
def ann(app) -> Person:
    return Person(app, "ann")


@pytest.fixture(autouse=True)
def nothing_happens(registry):
    """No attack may leave a trace in the registry."""
    before = registry.releases.events("iris"), registry.releases("iris")
    yield
    assert (registry.releases.events("iris"), registry.releases("iris")) == before


def paths(app: Any, method: str) -> list[str]:
    """Return an address for each route that takes a method."""
    found_paths = []
    for route in app.routes:
        assert isinstance(route, Route | Mount)
        if isinstance(route, Route) and method in (route.methods or ()):
            path = route.path
            for name, value in VALUES.items():
                for kind in ("", ":int", ":path"):
                    path = path.replace(f"{{{name}{kind}}}", value)
            assert "{" not in path, f"{path}: say in VALUES what stands there"
            found_paths.append(path)
    return found_paths


def fields(person: Person, **changes: str) -> dict[str, str]:
    """Return a form that is right for every route: all that any of them asks for."""
    act = person.form("pause").fields
    sign_in = Form(person.get("/sign-in").text).fields
    return {**sign_in, **act, "reason": "an attack", "name": "mallory", "key": KEY, **changes}


def test_every_form_is_among_those_that_are_attacked(app):
    acts = [f"/models/iris/release/{act}" for act in ("promote", "pause", "resume", "abort", "rollback")]
    assert {*acts, "/sign-in", "/sign-out"} <= set(paths(app, "POST"))


@pytest.mark.parametrize("token", ["", "x", "of another session", "of another hub", "cut off", "longer"])
def test_a_form_without_the_token_of_its_session_is_refused(app, ann, token):
    own = fields(ann)["token"]
    other_hub = Access("another-" + KEY, lambda: NOW)
    tokens = {
        "of another session": lambda: fields(Person(app, "ben"))["token"],
        "of another hub": lambda: other_hub.token(Session("guessed", "ann", NOW + 60)),
        "cut off": lambda: own[:-1],
        "longer": lambda: own + "A",
    }
    sent = fields(ann, token=tokens[token]() if token in tokens else token)
    for path in paths(app, "POST"):
        answer = ann.post(path, sent)
        assert answer.status_code == 403, path
        assert "expected the token of your session" in text_of(answer)
        without = {name: value for name, value in sent.items() if name != "token"}
        assert ann.post(path, without).status_code == 403, path


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://hub.evil.example"},
        {"origin": "http://evilhub"},
        {"origin": "http://hub:81"},
        {"origin": "http://hub@evil.example"},
        {"origin": "http://evil.example#http://hub"},
        {"origin": "http://hub/"},
        {"origin": "ftp://hub"},
        {"origin": "http://[hub"},
        {"origin": "http://hub http://evil.example"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
        {"origin": ORIGIN, "sec-fetch-site": "none"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"referer": "http://hub/models/iris/release"},
        {"origin": "http://evil.example", "x-forwarded-host": "evil.example"},
    ],
)
def test_a_form_of_another_site_is_refused(app, ann, headers):
    sent = fields(ann)
    for path in paths(app, "POST"):
        assert ann.send("POST", path, data=sent, headers=headers).status_code == 403, (path, headers)


def test_a_form_with_two_origins_is_refused(app, ann):
    sent = fields(ann)
    for path in paths(app, "POST"):
        for twice in (("origin", ORIGIN), ("sec-fetch-site", "same-origin"), ("host", "hub")):
            headers = [("origin", ORIGIN), ("sec-fetch-site", "same-origin"), ("host", "hub"), twice]
            assert ann.send("POST", path, data=sent, headers=headers).status_code == 403, (path, twice)


def forged_cookies() -> dict[str, str]:
    """Return cookies by what is wrong with each."""
    ann = Session("an-id-of-ours", "ann", NOW + SESSION_S)
    good = Access(KEY, lambda: NOW).cookie(ann)
    payload, _, signature = good.rpartition(".")
    unsigned = URLSafeSerializer("", salt="lading.hub.session").dumps(msgspec.to_builtins(ann))
    other_salt = URLSafeSerializer(KEY, salt="lading.hub.form").dumps(msgspec.to_builtins(ann))
    return {
        "empty": "",
        "no signature": payload,
        "empty signature": payload + ".",
        "another signature": f"{payload}.{'A' * len(signature)}",
        "another payload": f"{payload[:-2]}AA.{signature}",
        "of another key": Access("another-" + KEY, lambda: NOW).cookie(ann),
        "over": Access(KEY, lambda: NOW - SESSION_S).cookie(Session("id", "ann", NOW)),
        "never ending": Access(KEY[:-1], lambda: NOW).cookie(Session("id", "ann", 1e300)),
        "of an empty key": str(unsigned),
        "signed for something else": str(other_salt),
        "a bomb": str(URLSafeSerializer(KEY, salt="lading.hub.session").dumps("x" * 10_000_000)),
        "long": "A" * 60_000,
        "in bytes": "\xff\xfe.\x80",
        "of nobody": Access(KEY, lambda: NOW).cookie(Session("id", "", NOW + 60)),
    }


@pytest.mark.parametrize("forged", list(forged_cookies()))
def test_a_cookie_that_the_hub_has_not_given_signs_nobody_in(app, ann, forged):
    sent, value = fields(ann), forged_cookies()[forged]
    if forged == "of nobody":
        sent["token"] = Access(KEY).token(Session("id", "", NOW))
    for path in paths(app, "POST"):
        stranger = Person(app)
        headers = {"origin": ORIGIN, "cookie": f"{COOKIE}={value}".encode("latin-1")}
        answer = stranger.send("POST", path, data=sent, headers=headers)
        if path.startswith("/models/"):
            assert answer.status_code == 401, (path, forged)
        elif path == "/sign-in" and forged != "of nobody":
            assert answer.status_code == 401
        assert "ann" not in text_of(stranger.send("GET", "/", headers={"cookie": headers["cookie"]}))


def test_signing_in_gives_another_session_than_the_one_that_was_brought_along(app):
    # Else who puts a cookie into somebody's browser would be signed in with him.
    person = Person(app)
    person.get("/sign-in")
    before = dict(person.cookies)[COOKIE]
    assert person.sign_in("ann").status_code == 303
    assert dict(person.cookies)[COOKIE] != before
    answer = person.send("GET", "/sign-in", headers={"cookie": f"{COOKIE}={before}"})
    assert dict(answer.cookies)[COOKIE] != before


def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(app):
    person = Person(app)
    answer = person.get("/sign-in")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}=")
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert "; path=/" in cookie
    assert "domain" not in cookie
    secure = Person(app).send("GET", "https://hub/sign-in").headers["set-cookie"].lower()
    assert secure.startswith(f"__host-{COOKIE}=")
    assert "; secure" in secure


def test_every_answer_forbids_frames_and_scripts_of_elsewhere(app, ann):
    sent = fields(ann)
    answers = [ann.get(path) for path in (*paths(app, "GET"), "/none", "/static/hub.css", "/static/none")]
    answers += [ann.post(path, {**sent, "token": "x"}) for path in paths(app, "POST")]
    answers += [ann.send("PUT", path) for path in paths(app, "POST")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
            assert rule in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    pages = [answer for answer in answers if "/static/" not in str(answer.url)]
    assert {answer.headers["cache-control"] for answer in pages} == {"no-store"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused_on_every_route(app, ann, method):
    sent = fields(ann)
    for path in {*paths(app, "GET"), *paths(app, "POST")}:
        answer = ann.send(method, path, data=sent, headers={"origin": ORIGIN})
        assert answer.status_code == 405, path


def test_a_page_that_is_only_read_takes_no_form_and_no_disguise(app, ann):
    sent = fields(ann, _method="POST")
    only_read = set(paths(app, "GET")) - set(paths(app, "POST"))
    assert len(only_read) > 20
    for path in only_read:
        assert ann.post(path, sent).status_code == 405, path
    for path in paths(app, "POST"):
        disguised = {"x-http-method-override": "POST", "origin": ORIGIN}
        query = urlencode(sent)
        assert ann.send("GET", f"{path}?{query}", headers=disguised).status_code in (200, 405), path


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "..",
        ".",
        "../..",
        "%2f%2fevil.example",
        "iris/../../..",
        "iris?x=//evil.example",
        "iris\r\nset-cookie: x=1",
        "iris\0",
        "javascript:alert(1)",
        "x" * 2000,
    ],
)
def test_nothing_that_is_sent_chooses_where_the_browser_goes(app, place):
    person = Person(app)
    form = Form(person.get("/sign-in?" + urlencode({"model": place})).text)
    assert form.fields["model"] == ""
    more = {"next": place, "return": place, "url": place, "to": place}
    answer = person.post("/sign-in", {**form.fields, "model": place, "name": "ann", "key": KEY, **more})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    out = person.post("/sign-out", {"token": Form(person.get("/sign-in").text).fields["token"], **more})
    assert (out.status_code, out.headers["location"]) == (303, "/")


@pytest.fixture(scope="module")
def port(registry):
    """Return the port of a hub that answers to the names of this machine alone."""
    with hub_over(registry, Access(KEY)) as hub:
        yield int(hub.url.rpartition(":")[2])


def raw(port: int, head: str | bytes, body: bytes = b"", *, ends: bool = False) -> bytes:
    """Send bytes as they are, and nothing more if it `ends`; return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall((head.encode("latin-1") if isinstance(head, str) else head) + body)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize(
    "path", ["/models/", "//evil.example", "//evil.example/", "/sign-in/", "/\\evil.example/..", "/static"]
)
def test_no_address_redirects_to_another_one(port, path):
    for method in ("GET", "POST"):
        answer = raw(port, f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        assert status(answer) in (404, 405), answer[:200]
        assert b"location" not in answer.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize("where", ["/static/", "/models/", "/history/", "/api/history/", "/inventory/", "/"])
@pytest.mark.parametrize(
    "trick",
    [
        "../guard.py",
        "..%2fguard.py",
        "%2e%2e/guard.py",
        "%2e%2e%2fguard.py",
        "%252e%252e%252fguard.py",
        "..\\guard.py",
        "..%5cguard.py",
        "....//guard.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "hub.css%00.py",
        "%00",
        "%c0%ae%c0%ae/guard.py",
        "%ff%fe",
        "iris%0d%0aset-cookie:%20x=1",
        "iris;/../guard.py",
        "x" * 60_000,
        "%2e" * 10_000,
        "a/" * 5_000,
    ],
)
def test_no_path_leads_out_of_the_hub(port, where, trick):
    answer = raw(port, f"GET {where}{trick} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    # An id of a replica may be any text; a hub that has none of that name says so.
    assert status(answer) in (400, 404), answer[:200]
    assert b"WithHeaders" not in body
    assert b"root:" not in body
    assert b"set-cookie" not in head.lower()
    assert b"location" not in head.lower()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "127.0.0.1:80@evil.example",
        "evil.example:80",
        "evil.example#127.0.0.1",
        "127.0.0.1/evil.example",
        "[::1].evil.example",
        "[::1]@evil.example",
        "localhost:x",
        " ",
        "",
        "127.0.0.1\r\nhost: evil.example",
        "evil.example\r\nhost: 127.0.0.1",
        "127.0.0.1\r\nx-forwarded-host: evil.example",
        "evil.example\r\nx-forwarded-host: 127.0.0.1",
    ],
)
def test_a_host_that_is_not_the_hubs_gets_nothing_and_is_never_repeated(port, host):
    for path in ("/", "/models/", "/sign-in", "/static/hub.css"):
        answer = raw(port, f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        if "x-forwarded-host: evil" not in host:
            assert status(answer) in (400, 421), answer[:200]
        assert b"evil" not in answer


def form_head(
    path: str, length: str = "", kind: str = "application/x-www-form-urlencoded", more: str = ""
) -> str:
    sized = f"content-length: {length}\r\n" if length else ""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://127.0.0.1\r\ncontent-type: {kind}\r\n"
        f"{sized}{more}connection: close\r\n\r\n"
    )


def test_a_body_that_is_too_large_is_not_read(app, port):
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    for path in paths(app, "POST"):
        body = b"reason=" + b"a" * 16_384
        assert status(raw(port, form_head(path, str(len(body))), body)) == 413, path
        assert status(raw(port, form_head(path, "1000000000000"))) == 413, path
        endless = form_head(path, more="transfer-encoding: chunked\r\n")
        assert status(raw(port, endless, chunk * 4 + b"0\r\n\r\n")) == 413, path


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"token=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"token=%", "application/x-www-form-urlencoded", (400, 401, 303)),
        (b"token", "application/x-www-form-urlencoded", 400),
        (b"&&&", "application/x-www-form-urlencoded", 400),
        (b"token=a&token=b", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 21, "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe\x00", "application/x-www-form-urlencoded", 400),
        (b'{"token":"x"}', "application/json", 415),
        (b"token=x", "text/plain", 415),
        (b"token=x", "", 415),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
        (b"token=x", "application/x-www-form-urlencoded\x0b", (400, 415)),
    ],
)
def test_a_body_that_is_no_form_is_refused(app, port, body, kind, expected):
    for path in paths(app, "POST"):
        answer = status(raw(port, form_head(path, str(len(body)), kind), body))
        allowed = expected if isinstance(expected, tuple) else (expected,)
        # Who is signed in nowhere signs out as often as he likes.
        assert answer in allowed, (path, answer)


@pytest.mark.parametrize(
    "sent",
    [
        form_head("/sign-in", "100"),
        form_head("/sign-in", "-1"),
        form_head("/sign-in", "1, 2"),
        form_head("/sign-in", "7\r\ncontent-length: 8"),
        form_head("/sign-in", "7", more="transfer-encoding: chunked\r\n"),
        form_head("/sign-in", more="transfer-encoding: chunked\r\n") + "zz\r\n",
        "POST /sign-in HTTP/1.1\r\n\r\n",
        "POST  /sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "POST /sign-in\r\n\r\n",
        "\0" * 100,
    ],
)
def test_a_request_that_is_none_is_no_defect_of_the_hub(port, sent, caplog):
    assert status(raw(port, sent, b"token=x", ends=True)) in (0, 400, 403, 413, 421)
    assert "Traceback" not in caplog.text
    assert status(raw(port, "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")) == 200


@pytest.mark.parametrize(
    "name", ["ann\r\nset-cookie: x=1", "ann\r\n\r\n<html>", "ann\0", "ann\u2028x", "a" * 81]
)
def test_no_name_breaks_out_of_a_header_or_a_line_of_the_log(app, name, caplog):
    caplog.set_level("INFO", "lading.hub")
    answer = Person(app).sign_in(name)
    assert answer.status_code == 400
    assert "x" not in answer.cookies
    assert "ann" not in caplog.text


@pytest.mark.parametrize(
    "query",
    [
        {"release": "<script>alert(1)</script>", "change": "1", "event": "1"},
        {"release": "1", "change": "1" * 5000, "event": "1"},
        {"release": "-1", "change": "1", "event": "1"},
        {"release": "1e9", "change": "\u0661", "event": "1"},
    ],
)
def test_what_an_address_says_of_a_release_is_a_number_or_refused(ann, query):
    answer = ann.get("/models/iris/release/pause?" + urlencode(query))
    assert answer.status_code == 400
    assert "<script>" not in answer.text
