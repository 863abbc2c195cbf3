"""The settings: each option declared once, with its default, unit and help.

Flags of the command line (``--max-queue``) and variables (``LADING_MAX_QUEUE``) follow from the fields.
Nothing else in lading reads a ``LADING_…`` variable, except ``LADING_IMAGE``, which is no setting but
describes the environment (`runtime/host/fingerprint.py`). Reads no configuration file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from lading.errors import InvalidSetting

_LAST_PORT = 65_535


def option(
    default: Any,
    text: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    flag: bool = False,
) -> Any:
    """Declare one setting: its default, one sentence of help, its least and greatest value or its choices.

    ``also`` are variables of platforms that set it, too; ``LADING_…`` wins over them. A ``flag`` is "on" or
    "off", and its flag on the command line, which has no value, turns it on.
    """
    choices = ("on", "off") if flag else choices
    rules = {"help": text, "at_least": at_least, "at_most": at_most, "choices": choices, "also": also}
    rules["flag"] = flag
    return field(default=default, metadata=rules)


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of ``lading serve``; raises `InvalidSetting` when a value is out of range."""

    host: str = option("127.0.0.1", "Address to listen on, or `unix:PATH` for a Unix socket.")
    # Platforms tell a container its port by variables of their own: Vertex AI and SageMaker.
    port: int = option(
        8000,
        "REST port; 0 picks a free one.",
        at_least=0,
        at_most=_LAST_PORT,
        also=("AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"),
    )
    grpc_port: int = option(
        8001, "gRPC port; 0 picks a free one, -1 disables gRPC.", at_least=-1, at_most=_LAST_PORT
    )
    grpc_threads: int = option(64, "Most gRPC calls in flight.", at_least=1)
    workers: int = option(1, "Worker processes; they share the ports.", at_least=1)
    worker_timeout_s: int = option(
        60, "Seconds without a heartbeat until a worker is replaced; 0: never.", at_least=0
    )
    share_weights: str = option(
        "on",
        "Share a model's weights between workers, through a copy of it in TMPDIR.",
        choices=("on", "off"),
    )
    isolate: str = option(
        "on",
        "Run a model that is new on this machine in a process of its own before it is loaded.",
        choices=("on", "off"),
    )
    load_timeout_s: float = option(
        300.0,
        "Seconds that a new model, or a step of building its environment, may take until it is given up.",
        at_least=0.1,
    )
    threads: int = option(
        0, "ONNX Runtime threads per worker; 0 uses its share of the cgroup's CPUs.", at_least=0
    )
    keep: int = option(
        0, "Earlier versions to keep loaded for an instant rollback (when following releases).", at_least=0
    )
    swap: str = option(
        "beside",
        "Load a new version beside the old one, or replace the old one if memory holds only one.",
        choices=("beside", "replace"),
    )
    default_model: str = option("", "Model that answers on the root routes; empty: the first one named.")
    max_body_bytes: int = option(32 * 2**20, "Largest request body or gRPC message in bytes.", at_least=1)
    max_request_rows: int = option(0, "Most rows in one request; 0: as many as its body holds.", at_least=0)
    model_memory_mb: int = option(
        0,
        "Memory in MB that models and their runs may take in a worker; 0: five eighths of its share of "
        "what the cgroup or the machine has, less 168 MB for the worker itself.",
        at_least=0,
    )
    request_memory_mb: int = option(
        0,
        "Memory in MB that requests in flight and their answers may take in a worker, beyond which they are "
        "refused with 503; 0: three eighths of that share.",
        at_least=0,
    )
    max_answer_bytes: int = option(
        128 * 2**20, "Most bytes of output values in one answer; more are refused with 413.", at_least=1
    )
    max_queue: int = option(
        1024, "Requests that may wait for a model; more are answered with 429.", at_least=1
    )
    max_batch_rows: int = option(1024, "Most rows in a merged run; 1 merges no requests.", at_least=1)
    latency_target_ms: float = option(
        50.0,
        "Target duration of a merged run in milliseconds, but at least twice that of one row.",
        at_least=0.1,
    )
    max_queue_delay_ms: float = option(
        0.0, "Milliseconds to wait for more requests to merge; 0 never waits.", at_least=0
    )
    deadline_s: float = option(
        30.0, "Seconds until a request that has arrived times out (504).", at_least=0.001
    )
    client_timeout_s: float = option(
        30.0,
        "Seconds that a client may take to send a request (408) or to read answers, "
        "in addition to what their bytes take at `client_min_rate`.",
        at_least=0.001,
    )
    client_min_rate: int = option(
        1000, "Least bytes per second of a client that sends or reads for long.", at_least=1
    )
    max_unread_bytes: int = option(
        256 * 2**20,
        "Most bytes of answers that clients leave unread, by worker; beyond it the slowest are cut off.",
        at_least=1,
    )
    max_connections: int = option(
        0,
        "Most REST connections of a worker; 0: half of the file descriptors that it may open, less 128.",
        at_least=0,
    )
    drain_delay_s: float = option(
        0.0, "Seconds to keep serving after SIGTERM while reporting not ready.", at_least=0
    )
    drain_timeout_s: float = option(
        30.0, "Seconds for requests in flight to finish when draining.", at_least=0
    )
    keep_alive_s: float = option(
        75.0, "Keep-alive timeout: seconds until an idle connection is closed.", at_least=0
    )
    root_path: str = option(
        "", "Path under which a proxy shows this server, such as `/ml`; `X-Forwarded-Prefix` wins."
    )
    cors_origins: str = option(
        "", "Comma-separated origins whose pages may call this server, or `*` for all; empty: none."
    )
    allowed_hosts: str = option(
        "",
        "Comma-separated names of this server; feedback sent under another name is refused. "
        "Empty: any name, except from web pages.",
    )
    trusted_proxies: str = option(
        "127.0.0.0/8,::1",
        "Comma-separated addresses or networks of proxies whose `X-Forwarded-For` (without one, "
        "`x-lading-key`) says who asks; a release weighs evidence by caller.",
    )
    oip_nan: str = option(
        "token",
        "NaN and infinities in JSON answers of the Open Inference Protocol: bare tokens, or null.",
        choices=("token", "null"),
    )
    grpc_client_timeout_s: float = option(
        60.0,
        "Seconds that a gRPC client may take to send the message of a call, or to read its answer.",
        at_least=0.001,
    )
    grpc_stream_idle_s: float = option(
        600.0, "Seconds that a gRPC stream may wait for its client's next message.", at_least=0.001
    )
    grpc_max_open_calls: int = option(
        8192,
        "Most open gRPC calls, streams included; beyond it those end that wait longest for their client.",
        at_least=16,
    )
    grpc_max_connections: int = option(
        0,
        "Most gRPC connections of a worker; 0: half of the file descriptors that it may open, less 128.",
        at_least=0,
    )
    grpc_max_connection_idle_s: int = option(
        300, "Seconds until a gRPC connection without calls is closed; 0: never.", at_least=0
    )
    grpc_max_connection_age_s: int = option(
        0, "Seconds until a gRPC client is asked to connect again; 0: never.", at_least=0
    )
    grpc_min_ping_interval_s: float = option(
        5.0,
        "Seconds that a gRPC client leaves between two pings; one that pings more is cut off.",
        at_least=0,
    )
    metrics_names: str = option(
        "lading",
        "Names on /metrics: lading's, or those of another server.",
        choices=("lading", "triton", "tfs", "all"),
    )
    alerts: str = option(
        "", "File of rules by which alarms of the monitor are sent to people; empty: none are sent."
    )
    drift: str = option(
        "on",
        "Count the values of requests in the cells of the reference profile, for the monitor.",
        choices=("on", "off"),
    )
    input_checks: str = option(
        "count",
        "What is done about values that fail a check, for all models or `MODEL=` one, separated by commas: "
        "`off`, `count`, `warn` (in a header of the answer) or `reject` (422).",
    )
    checks: str = option(
        "", "TOML file of checks by model and column, beside those of the bundles; empty: none."
    )
    allow: str = option(
        "none",
        "What of bundles may run here: nothing of their own, their modules (`code`), or pickles, too.",
        choices=("none", "code", "pickle"),
    )
    trust_policy: str = option(
        "", "TOML file of who must have signed a bundle, and what may run; empty: every bundle is let in."
    )
    model_processes: int = option(1, "Processes of a model in Python, in each worker.", at_least=1)
    process_memory_mb: int = option(
        0,
        "Memory in MB that a process of a model in Python and those that it starts may take; 0: no limit.",
        at_least=0,
    )
    wheels: str = option(
        "", "Folder of wheels to build environments from, offline; empty: the package index of pip."
    )
    log_predictions: float = option(
        0.0, "Share of requests that the prediction log keeps; 0: none.", at_least=0, at_most=1
    )
    log: str = option(
        "",
        "Prediction log: a folder or `s3://bucket/prefix`; empty: `log` in the registry's folder, else in "
        "`~/.lading`.",
    )
    log_exclude: str = option("", "Comma-separated inputs, outputs or columns that are never logged.")
    log_hash: str = option("", "Comma-separated inputs, outputs or columns that are logged as keyed hashes.")
    log_hash_key_file: str = option(
        "", "File with the secret key of these hashes; empty: a random one that the log's folder keeps."
    )
    log_max_age_days: float = option(
        30.0, "Days that the prediction log keeps records; 0: no limit.", at_least=0
    )
    log_max_bytes: int = option(
        20 * 2**30, "Most bytes of the prediction log, of which the oldest go first; 0: no limit.", at_least=0
    )
    hub: str = option(
        "off",
        "Serve the pages of `lading hub` as well, from a process of their own beside the server.",
        flag=True,
    )
    hub_host: str = option("127.0.0.1", "Address of these pages, which ask for no password.")
    hub_port: int = option(8080, "Port of these pages; 0 picks a free one.", at_least=0, at_most=_LAST_PORT)
    jobs: str = option(
        "off",
        "Take jobs: requests that are stored in the catalog and answered later, by any server of the model.",
        flag=True,
    )
    job_concurrency: int = option(4, "Most jobs that a worker runs at the same time.", at_least=1)
    job_lease_s: float = option(
        30.0,
        "Seconds after which another server takes a job whose server has ended.",
        at_least=1,
    )
    job_attempts: int = option(
        3, "How often a job is begun whose server ends, or whose model fails to answer in time.", at_least=1
    )
    max_jobs: int = option(10_000, "Jobs of a model that may wait; more are answered with 429.", at_least=1)
    max_job_bytes: int = option(
        8 * 2**20, "Largest body of a job, and of its answer, in bytes; the catalog keeps both.", at_least=1
    )
    job_webhook_secret_file: str = option(
        "",
        "File with the secrets that sign webhooks of jobs, a line `whsec_…` for each, the current one first; "
        "empty: jobs may name no webhook.",
    )
    job_webhook_hosts: str = option(
        "",
        "Comma-separated hosts that webhooks of jobs may be sent to, `*.example.com` for all below one; over "
        "http as well, and at private addresses. Empty: any host, over https, at public addresses.",
    )
    log_level: str = option("info", "Lowest level to log.", choices=("debug", "info", "warning", "error"))
    log_format: str = option(
        "text", "Lines of the log: text, or one JSON object each.", choices=("text", "json")
    )
    access_log: str = option(
        "off", "Log one line for each request, without its values.", choices=("on", "off")
    )
    traces: str = option(
        "",
        "Send spans of requests to this OTLP/HTTP collector, such as `http://127.0.0.1:4318`; `otlp`: to the "
        "one that `OTEL_EXPORTER_OTLP_ENDPOINT` names. Empty: none.",
    )
    traces_share: float = option(
        1.0,
        "Share of the requests without a trace of their caller that begin one; with one, the caller decides.",
        at_least=0,
        at_most=1,
    )
    access: str = option("", "TOML file of who may call this server, and what; empty: all may do all.")
    tls_cert: str = option("", "PEM file of the certificate of REST and gRPC, with its chain; empty: no TLS.")
    tls_key: str = option("", "PEM file of the private key of that certificate, without a password.")
    tls_client_ca: str = option("", "PEM file of who signs the certificates of clients; empty: none needed.")
    tls_clients: str = option(
        "required",
        "Whether clients must have one, with `tls_client_ca`; gRPC asks for none if it is optional.",
        choices=("required", "optional"),
    )
    vertex_health_route: str = option(
        "", "Path of Vertex AI's health route; empty: none.", also=("AIP_HEALTH_ROUTE",)
    )
    vertex_predict_route: str = option(
        "", "Path of Vertex AI's predict route; empty: none.", also=("AIP_PREDICT_ROUTE",)
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(variable(setting.name), getattr(self, setting.name), setting.metadata)


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Settings of every command that moves bundles; raises `InvalidSetting` when a value is out of range."""

    store: str = option("", "Store of the blobs: a folder, `oci://…` or `s3://…`; empty: beside the catalog.")
    cache: str = option("", "Folder of unpacked bundles; empty: beside the registry, or in `~/.lading`.")
    cache_max_bytes: int = option(
        20 * 2**30, "Bytes of unpacked bundles to keep; those in use are never evicted.", at_least=0
    )
    environments_max_bytes: int = option(
        20 * 2**30,
        "Bytes of environments of models in Python to keep; those in use are never removed.",
        at_least=0,
    )
    gone_days: float = option(
        7.0, "Days that the inventory keeps a server after its last heartbeat.", at_least=0
    )
    history_key_file: str = option(
        "",
        "File of the keys that seal the history of releases, a line `ID SECRET` for each, the current one "
        "first; empty: no seals.",
    )
    feedback_kept_s: float = option(
        300.0,
        "Seconds that feedback waits in the catalog for the server that gave the answer.",
        at_least=1,
    )
    jobs_kept_hours: float = option(
        72.0, "Hours that jobs and their results are kept in the catalog after they have ended.", at_least=0
    )
    feeds: str = option(
        "", "Folder of feeds of vulnerabilities and ends of life that `lading scan` reads; empty: none."
    )
    insecure_registries: str = option(
        "", "Comma-separated hosts of OCI registries to use without TLS; this machine is always one."
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(variable(setting.name), getattr(self, setting.name), setting.metadata)


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return f"LADING_{name.upper()}"


def variables(setting: Field[Any]) -> tuple[str, ...]:
    """Return the variables that set a field, in the order in which they win."""
    return (variable(setting.name), *setting.metadata["also"])


def serve_settings(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> ServeSettings:
    """Combine `flags` (None is a flag not passed), the environment, and the defaults, in that order.

    Raises `InvalidSetting` naming the variable.
    """
    # Unset flags are left out, so that they do not hide the environment.
    passed = {name: value for name, value in flags.items() if value is not None}
    return ServeSettings(**{**_from(environ, ServeSettings), **passed})


def store_settings(environ: Mapping[str, str] = os.environ) -> StoreSettings:
    """Combine the environment and the defaults. Raises `InvalidSetting` naming the variable."""
    return StoreSettings(**_from(environ, StoreSettings))


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the embedded registry: ``~/.lading``."""
    # In some containers HOME is empty; "~" then asks the user database.
    return Path(environ.get("HOME") or "~").expanduser() / ".lading"


def client_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key that clients send: ``LADING_KEY``, or None."""
    return environ.get("LADING_KEY") or None


def registry_url(url: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the registry to use: `url`, else ``LADING_REGISTRY``, else ``~/.lading``."""
    return url or environ.get("LADING_REGISTRY") or str(home(environ))


def registry_is_set(url: str | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether `url` or ``LADING_REGISTRY`` chooses the registry."""
    return bool(url or environ.get("LADING_REGISTRY"))


def _from(environ: Mapping[str, str], settings: type[ServeSettings | StoreSettings]) -> dict[str, Any]:
    """Read the fields that the environment sets."""
    values = {}
    for setting in fields(settings):
        name = next((name for name in variables(setting) if name in environ), None)
        if name is not None:
            values[setting.name] = _read(name, environ[name], type(setting.default))
    return values


def store_url(url: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return where blobs are kept: `url`, else ``LADING_STORE``; None leaves it to the registry."""
    return url or store_settings(environ).store or None


def log_url(
    url: str | None = None, registry: str | None = None, environ: Mapping[str, str] = os.environ
) -> str:
    """Return the prediction log to use: `url`, else ``LADING_LOG``, else ``log`` in the registry's folder.

    Beside a registry that is no folder it is ``~/.lading/log``.
    """
    chosen = url or environ.get("LADING_LOG")
    if not chosen:
        beside = registry_url(registry, environ)
        return str((home(environ) if "://" in beside else Path(beside).expanduser().absolute()) / "log")
    return chosen if "://" in chosen else str(Path(chosen).expanduser().absolute())


def feeds_folder(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of feeds: `folder`, else ``LADING_FEEDS``, or None without either."""
    named = store_settings(environ).feeds
    chosen = folder or (Path(named) if named else None)
    return chosen.expanduser().absolute() if chosen is not None else None


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of unpacked bundles: ``LADING_CACHE``; None leaves it to the registry."""
    folder = store_settings(environ).cache
    return Path(folder).expanduser().absolute() if folder else None


def proofs_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that keeps which models have run on this machine: within the cache, else at home."""
    return (cache_folder(environ) or home(environ)) / "proofs"


def environments_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the environments that models in Python run in: within the cache, else at home."""
    return (cache_folder(environ) or home(environ)) / "environments"


def bundles_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of an image's bundles: ``LADING_BUNDLES``, else ``/lading/bundles``."""
    return Path(environ.get("LADING_BUNDLES") or "/lading/bundles")


def ready_environments_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of an image's environments: ``LADING_ENVIRONMENTS``, else `/lading/environments`."""
    return Path(environ.get("LADING_ENVIRONMENTS") or "/lading/environments")


def actor(name: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return who acts: `name`, else ``LADING_ACTOR``, or None if neither is set."""
    return name or environ.get("LADING_ACTOR") or None


def trust_policy(path: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the file of the trust policy: `path`, else ``LADING_TRUST_POLICY``; empty without one."""
    return path or environ.get("LADING_TRUST_POLICY") or ""


def hub_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key with which people sign in to the hub: ``LADING_HUB_KEY``, or None without one."""
    return environ.get("LADING_HUB_KEY")


def debugging(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether errors are printed with their traceback: ``LADING_DEBUG``."""
    return bool(environ.get("LADING_DEBUG"))


def _read(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        # Only int and float can fail: every text is a str.
        words = {int: "a whole number", float: "a number"}
        raise InvalidSetting(f"`{name}`", expected=words[kind], found=f"`{text}`") from None


def _check(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    least, most, choices = rules["at_least"], rules["at_most"], rules["choices"]
    # Written so that NaN, which compares with nothing, is refused.
    if least is not None and not value >= least:
        raise InvalidSetting(f"`{name}`", expected=f"at least {least}", found=f"`{value}`")
    if most is not None and not value <= most:
        raise InvalidSetting(f"`{name}`", expected=f"at most {most}", found=f"`{value}`")
    if choices and value not in choices:
        expected = "one of " + ", ".join(f"`{choice}`" for choice in choices)
        raise InvalidSetting(f"`{name}`", expected=expected, found=f"`{value}`")
