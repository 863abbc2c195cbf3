"""The life of two models in one folder: train, pack, verify, push, serve, predict, refuse, drain, release.

Every step is a command that you could type; each is really run, in ``.demo``, and says in one line what it
did. At its end the pages of the hub over that registry stay up until Ctrl-C, if it runs in a terminal. With
``--keep`` the server stays up after the models are served, the hub beside it, until Ctrl-C. Uses no network
but 127.0.0.1 and no registry but the one in its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lading import Client

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".demo"
SERVE = "lading serve iris:1 progression:1 --port {port} --grpc-port {grpc_port}"
FOLLOW = "lading serve --port {port} --grpc-port {grpc_port} --log-predictions 1"
WITH_HUB = " --hub --hub-port {hub_port}"
CANARY = "--canary 25,100 --hold 2s --min-requests 300 --gates gates.toml"
BY_VERSION = "select version, count(*) as rows, count(label) as labelled from log group by version order by 1"
GATES = """# What a candidate may cost, judged by live traffic.
[live]
max_error_increase = 0.02
max_latency_p50_ratio = 3
max_latency_p99_ratio = 3
max_output_shift = 0.2
max_accuracy_drop = 0.05
"""


class Story:
    """Runs one command after another and prints each in two lines; an unexpected exit code ends the demo."""

    def __init__(self) -> None:
        self.step = 0
        binaries = Path(sys.executable).parent
        self.environ = {
            **os.environ,
            "LADING_REGISTRY": str(FOLDER / "registry"),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        }

    def tell(self, sentence: str, command: str | None = None) -> None:
        """Print a step: what was done, and the command that did it."""
        self.step += 1
        print(
            f"{self.step:>2}  {sentence}", *([f"      $ {command}"] if command else []), sep="\n", flush=True
        )

    def run(self, command: str, describe: Callable[[str], str], *, expect: int = 0) -> str:
        """Run `command`, check its exit code, print what `describe` makes of its output, and return that."""
        done = subprocess.run(
            shlex.split(command), cwd=FOLDER, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode != expect:
            print(f"    $ {command}\n{done.stdout}{done.stderr}", file=sys.stderr)
            sys.exit(f"demo: expected exit code {expect}, found {done.returncode}")
        output = done.stderr if expect or not done.stdout else done.stdout
        self.tell(describe(output), command)
        return output


def prepare() -> None:
    """Start from an empty folder with the two training scripts in it."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for script in ("train_iris.py", "progression.py", "train_again.py", "callers.py"):
        shutil.copy(HERE / script, FOLDER)


def make(story: Story) -> None:
    """Train, pack, verify and push both models."""
    story.run("python train_iris.py", lambda out: f"trained and packed from Python: {out.strip()}")
    score = story.run(
        "python progression.py", lambda out: f"trained on numbers and categories: {out.strip()}"
    )
    story.run(
        "lading pack progression:model --name progression --samples progression.csv"
        f" --owner ml@example.com --purpose regression --metric r2={score.split()[-1]}",
        lambda out: f"packed from the command line: {Path(out.strip()).name}",
    )
    for name in ("iris", "progression"):
        story.run(f"lading verify {name}.bundle", lambda _, name=name: f"verified {name} on this machine")
        story.run(f"lading push {name}.bundle", lambda out: f"pushed: {' '.join(out.split())}")


def free_port(preferred: int) -> int:
    """Return `preferred` if it is free on 127.0.0.1, else print so and return a free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
            print(f"    port {preferred} is in use; using {probe.getsockname()[1]}", flush=True)
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    story: Story,
    port: int,
    command: str = SERVE,
    what: str = "both models replayed their golden samples",
    hub_port: int = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve while the block runs; the server is ready at its start and gone after it, whatever happens.

    The hub is beside it on `hub_port`, if that is one.
    """
    command += WITH_HUB if hub_port else ""
    command = command.format(port=port, grpc_port=free_port(port + 1), hub_port=hub_port)
    with (FOLDER / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            shlex.split(command),
            cwd=FOLDER,
            env=story.environ,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches it only through here, as one drain.
        )
    try:
        seconds = wait_until_ready(server, port)
        story.tell(f"{what}, ready after {seconds:.2f} s", command)
        yield server
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(timeout=60)


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> float:
    """Wait until the server is ready, and return the seconds that it took."""
    started = time.monotonic()
    while not ready(port):
        if server.poll() is not None or time.monotonic() - started > 60:
            sys.exit(f"demo: the server did not become ready\n{(FOLDER / 'serve.log').read_text()}")
        time.sleep(0.02)
    return time.monotonic() - started


def ready(port: int) -> bool:
    """Return whether the server reports that it is ready."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
    with Client(f"http://127.0.0.1:{port}") as client:
        return client.health()["health"] == "ok"


def predict(story: Story, url: str) -> None:
    """Predict from the command line and from Python, by list and by column name."""
    write("flower.json", [[5.1, 3.5, 1.4, 0.2]])
    story.run(
        f"lading predict {url} --input flower.json", lambda out: f"iris answered probabilities: {out.strip()}"
    )
    story.run(f"lading predict {url} --input flower.json --label", lambda out: f"and by label: {out.strip()}")
    story.run(
        f"lading predict {url} --model progression --input progression.csv",
        lambda out: (
            f"progression answered all {len(out.split())} rows of the table, the first with {out.split()[0]}"
        ),
    )
    with Client(url, model="iris") as client:
        labels = client.predict_label([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]])
    story.tell(
        f"the Python client got {list(labels)} from {labels.model}",
        f"python -c 'import lading; print(*lading.Client(\"{url}\").predict_label([[5.1, 3.5, 1.4, 0.2]]))'",
    )


def refuse(story: Story, url: str) -> None:
    """Show what is refused: a value of another type, a missing column, changed bytes."""
    write("wrong.json", [[5.1, 3.5, "1.4", 0.2]])
    story.run(f"lading predict {url} --input wrong.json", refused, expect=1)
    write("short.json", [{"age": 50.0, "sex": "group 1"}])
    story.run(f"lading predict {url} --model progression --input short.json", refused, expect=1)
    shutil.copytree(FOLDER / "iris.bundle", FOLDER / "tampered.bundle")
    model = FOLDER / "tampered.bundle" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o644)
    model.write_bytes(content)
    story.tell("flipped one bit of model.onnx in a copy of the bundle: tampered.bundle")
    story.run("lading verify ./tampered.bundle", refused, expect=1)
    story.run("lading serve ./tampered.bundle --port 0", refused, expect=1)


def release(story: Story, port: int, hub_port: int) -> None:
    """Release under load: a better model goes live by itself, a broken one is rolled back."""
    (FOLDER / "gates.toml").write_text(GATES, encoding="utf-8")
    story.run(
        "lading release iris:1",
        lambda _: "released iris:1: every server that follows the releases will serve it",
    )
    what = "a server that follows the releases has loaded iris:1"
    with serving(story, port, FOLLOW, what, hub_port) as server:
        with calling(story, port):
            for kind, number, code in (("better", 2, 0), ("broken", 3, 1)):
                release_again(story, kind, number, code)
        story.run("lading history iris --check", lambda out: f"the complete history:\n{indented(out)}")
        story.run("lading inventory", lambda out: f"the running servers:\n{indented(out)}")
        look(story, hub_port)
        drain(story, server)
    watch(story)


def look(story: Story, hub_port: int) -> None:
    """Look at what the hub, which the server keeps beside itself, says of all that."""
    url = f"http://127.0.0.1:{hub_port}/models/iris"
    page = fetched(url)
    # The page that a person would open has to have the end of the story.
    if "rolled back" not in page:
        sys.exit(f"demo: expected the release that was rolled back on {url}")
    story.tell("all of this in a browser, while the server runs", f"open {url}")


def fetched(url: str) -> str:
    """Return a page of the hub; waits until it is started."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError as error:
            if time.monotonic() > until:
                sys.exit(f"demo: {url} does not answer: {error}")
            time.sleep(0.1)


def show_hub(story: Story, hub_port: int) -> None:
    """Keep the hub up until Ctrl-C, where somebody can look at it; else say how to open it."""
    command = f"lading hub --port {hub_port}"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\n    {command} --registry {FOLDER.name}/registry    shows it in a browser\n", flush=True)
        return
    words = shlex.split(command)
    hub = subprocess.Popen(words, cwd=FOLDER, env=story.environ, start_new_session=True)
    try:
        fetched(f"http://127.0.0.1:{hub_port}/")
        print(f"\n    open http://127.0.0.1:{hub_port}/    Ctrl-C ends the demo\n", flush=True)
        hub.wait()
    except KeyboardInterrupt:
        print()
    finally:
        hub.terminate()
        hub.wait(timeout=60)


def watch(story: Story) -> None:
    """Look at what was logged and counted meanwhile."""
    story.run(
        f"lading log query iris {shlex.quote(BY_VERSION)}",
        lambda out: f"what callers were answered:\n{indented(out)}",
    )
    story.run(
        "lading monitor report iris:2 --since 1h",
        lambda out: f"inputs and answers beside the reference, as a page: {FOLDER.name}/{out.strip()}",
    )


def release_again(story: Story, kind: str, number: int, code: int) -> None:
    """Train another version and release it as a canary; `code` is 0 if it should go live, else 1."""
    story.run(f"python train_again.py {kind}", lambda out: f"trained again: {out.strip()}")
    story.run(f"lading push {kind}.bundle", lambda out: f"pushed: {' '.join(out.split())}")
    if code:
        # Found before anybody was asked to wait for it; released all the same, to see what live traffic says.
        replay = f"lading replay iris:{number} --from-log --max-flipped 5%"
        story.run(replay, lambda out: f"the logged requests, replayed:\n{indented(out)}", expect=1)
    command = f"lading release iris:{number} {CANARY}"
    story.run(command, lambda _: f"iris:{number} gets 25 % of the requests, then all")
    ending = "was rolled back" if code else "went live"
    story.run(
        "lading rollout watch iris",
        lambda out: f"iris:{number} {ending} by itself: {last_line(out)}",
        expect=code,
    )


@contextmanager
def calling(story: Story, port: int) -> Iterator[None]:
    """Have callers send requests while the block runs, and print their counts after it."""
    command = f"python callers.py {port}"
    callers = subprocess.Popen(
        shlex.split(command), cwd=FOLDER, env=story.environ, stdout=subprocess.PIPE, text=True
    )
    story.tell("callers send flowers, and report later what some of them were", command)
    try:
        yield
    finally:
        callers.terminate()
        counts, _ = callers.communicate(timeout=60)
    story.tell(f"the callers saw {counts.strip()}")
    if not counts.strip().endswith(" 0 failed"):
        sys.exit("demo: expected no request to fail because of a release")


def last_line(output: str) -> str:
    """Return the last line that is not empty."""
    return [line.strip() for line in output.splitlines() if line.strip()][-1]


def indented(output: str) -> str:
    """Indent a table below its step."""
    return "\n".join(f"        {line.rstrip()}" for line in output.splitlines() if line.strip())


def refused(output: str) -> str:
    """Return the error message of a refusal."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return "refused: " + next((line for line in lines if "expected" in line), lines[0]).removeprefix(
        "error: "
    )


def write(name: str, rows: object) -> None:
    """Write rows as JSON into the demo's folder."""
    (FOLDER / name).write_text(json.dumps(rows) + "\n", encoding="utf-8")


def drain(story: Story, server: subprocess.Popen[bytes]) -> None:
    """Stop the server and wait until it has finished the requests in flight."""
    server.send_signal(signal.SIGTERM)
    code = server.wait(timeout=60)
    story.tell(f"drained on SIGTERM, exit code {code}", f"kill -TERM {server.pid}")
    if code != 0:
        sys.exit(f"demo: expected exit code 0 of the server, found {code}")


def keep(server: subprocess.Popen[bytes], url: str, hub_port: int) -> None:
    """Wait for Ctrl-C or SIGTERM, or for the server to exit by itself."""
    hub = f"http://127.0.0.1:{hub_port}/"
    fetched(hub)
    print(f"\n    {url}/docs    the models' documentation", f"    {hub}    the hub", sep="\n")
    print("    Ctrl-C drains and exits\n", flush=True)
    try:
        code = server.wait()
    except KeyboardInterrupt:
        print()
        return
    sys.exit(f"demo: the server exited by itself with code {code}; see .demo/serve.log")


def main() -> None:
    """Run the whole story."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="port to serve on")
    parser.add_argument("--hub-port", type=int, default=8080, help="port of the hub")
    parser.add_argument("--keep", action="store_true", help="serve until Ctrl-C")
    options = parser.parse_args()
    story = Story()
    prepare()
    print(f"    in {FOLDER.name}/, with LADING_REGISTRY={FOLDER.name}/registry\n")
    make(story)
    port = free_port(options.port)
    url = f"http://127.0.0.1:{port}"
    hub_port = free_port(options.hub_port)
    with serving(story, port, hub_port=hub_port if options.keep else 0) as server:
        if options.keep:
            keep(server, url, hub_port)
        else:
            predict(story, url)
            refuse(story, url)
        drain(story, server)
    if not options.keep:
        release(story, port, hub_port)
        show_hub(story, hub_port)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
