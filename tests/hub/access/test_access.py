"""Sessions and the tokens of their forms."""

from __future__ import annotations

from lading.hub.access import SESSION_S, VISIT_S, Access

KEY = "0123456789abcdef" * 4


def test_a_session_is_what_its_cookie_says_until_its_end():
    now = [1000.0]
    access = Access(KEY, lambda: now[0])
    ann, visitor = access.begin("ann"), access.begin()
    cookies = access.cookie(ann), access.cookie(visitor)
    assert [access.session(cookie) for cookie in cookies] == [ann, visitor]
    now[0] += VISIT_S
    assert [access.session(cookie) for cookie in cookies] == [ann, None]
    now[0] = 1000.0 + SESSION_S
    assert access.session(cookies[0]) is None


def test_another_hub_with_the_same_key_knows_the_session_and_one_without_a_key_none():
    ann = Access(KEY).begin("ann")
    assert Access(KEY).session(Access(KEY).cookie(ann)) == ann
    assert Access().session(Access().cookie(ann)) is None
    assert not Access().is_key("")


def test_a_session_that_was_ended_stays_so_and_others_do_not():
    now = [1000.0]
    access = Access(KEY, lambda: now[0])
    ann, ben = access.begin("ann"), access.begin("ben")
    access.end(ann)
    assert access.session(access.cookie(ann)) is None
    assert access.session(access.cookie(ben)) == ben
    # What is over by itself is not remembered for good.
    now[0] += SESSION_S
    access.end(access.begin("eve"))
    assert len(access._ended) == 1


def test_the_token_is_that_of_one_session_of_one_key():
    access = Access(KEY)
    ann, ben = access.begin("ann"), access.begin("ben")
    assert access.has_token(ann, access.token(ann))
    assert not access.has_token(ann, access.token(ben))
    assert not access.has_token(ann, Access(KEY + "x").token(ann))
    assert access.token(ann) != access.token(ann)
    assert not access.has_token(ann, access.token(ann)[:-4])
    assert not access.has_token(ann, "A" * 112)
    assert not access.has_token(ann, "")
    assert not access.has_token(ann, "\u1234")
