"""Prometheus and Alertmanager as Debian has them, on free ports of this machine, and a webhook behind."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.ports import free_port
from support.waiting import wait_until

TOOLS = ("prometheus", "promtool", "prometheus-alertmanager")


def needed(*commands: str) -> pytest.MarkDecorator:
    """Skip where these programs are not installed; `make setup` installs them."""
    missing = [command for command in commands if shutil.which(command) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}")


@dataclass
class Webhook:
    """An address that takes JSON by POST; ``status`` is what it answers, ``bodies`` what it has taken.

    ``requests`` has the headers and the bytes of each request, refused ones too; with ``fails_from`` those
    are refused that come after so many others.
    """

    url: str = ""
    status: int = 200
    delay_s: float = 0.0
    fails_from: int | None = None
    bodies: list[Any] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def alerts(self, status: str) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager has sent with a status: `firing` or `resolved`."""
        return [alert for body in self.bodies for alert in body["alerts"] if alert["status"] == status]


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """Take what is posted to a free port of this machine."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if hook.delay_s:
                time.sleep(hook.delay_s)
            is_late = hook.fails_from is not None and len(hook.requests) > hook.fails_from
            status = 500 if is_late else hook.status
            if status == 200:
                hook.bodies.append(json.loads(body))
            with contextlib.suppress(OSError):  # The client may have gone meanwhile.
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def alertmanager(folder: Path, hook: Webhook) -> Iterator[str]:
    """Run Alertmanager, which sends everything to `hook` at once; yield its address."""
    config = folder / "alertmanager.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"resolve_timeout": "5m"},
                "route": {
                    "receiver": "hook",
                    "group_by": ["..."],
                    "group_wait": "0s",
                    "group_interval": "1s",
                    "repeat_interval": "1h",
                },
                "receivers": [
                    {"name": "hook", "webhook_configs": [{"url": hook.url, "send_resolved": True}]}
                ],
            }
        )
    )
    port = free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with _running(command, f"http://127.0.0.1:{port}", folder / "alertmanager.log") as url:
        yield url


@contextlib.contextmanager
def prometheus(
    folder: Path,
    target: str,
    rules: Path | None = None,
    alerts_to: str = "",
    labels: dict[str, str] | None = None,
) -> Iterator[str]:
    """Run Prometheus, which scrapes `target` twice a second and knows `rules`; yield its address.

    `labels` are put on all that it scrapes, as a cluster does.
    """
    config: dict[str, Any] = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "scrape_configs": [
            {
                "job_name": "lading",
                "static_configs": [{"targets": [target.removeprefix("http://")], "labels": labels or {}}],
            }
        ],
    }
    if rules is not None:
        config["rule_files"] = [str(rules)]
    if alerts_to:
        managers = [{"targets": [alerts_to.removeprefix("http://")]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": managers}]}
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(config))  # JSON is YAML, too.
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with _running(command, f"http://127.0.0.1:{port}", folder / "prometheus.log") as url:
        yield url


@contextlib.contextmanager
def _running(command: list[str], url: str, log: Path) -> Iterator[str]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/-/ready").status_code == 200
        return False

    try:
        wait_until(is_ready, 30, log.read_text)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def query(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """Evaluate an expression now; return its series. Fails with Prometheus' words if it is none."""
    answer = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result
