"""Routes are found, cached and refused."""

from __future__ import annotations

from lading.server.http.router import LONGEST_CACHED_PATH
from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import SETTINGS, request
from support.wire import listening


def test_long_paths_are_not_remembered(pair):
    asked = hosted(pair[0], **SETTINGS)
    long = "x" * LONGEST_CACHED_PATH
    with listening(asked.app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        stage, router = host.stage, asked.app.router
        for at in range(5):
            wire.send(request(path=f"/models/{long}{at}/predict"))
            assert wire.answer().status == 404
            wire.send(request(path=f"/nothing/{at}"))
            assert wire.answer().status == 404
        assert len(stage.routes) == 0
        assert len(router.cache) == 0
        wire.send(request())
        assert wire.answer().status == 200
        assert len(stage.routes) == 1
