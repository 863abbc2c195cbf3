"""The page of what a new version costs: tables, budgets, chart and advice, all from one run."""

from __future__ import annotations

import datetime
import platform
import statistics
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from page import DOCS, Budget, machine, table
from release_ways import Dockerfile, ImageBuild, Load, WholeDockerfile

PAGE = DOCS / "benchmarks-release.md"
CHART = DOCS / "benchmarks-release.svg"
IMAGE, ONTO, WHOLE, LOAD = (way.name for way in (ImageBuild, Dockerfile, WholeDockerfile, Load))
WAYS = (IMAGE, ONTO, WHOLE, LOAD)
SMALL, LARGE = "1 MB", "200 MB"


class Stage(Enum):
    """What is measured of each way, in the order of a version's life."""

    BUILD = "build"
    PUSH = "push"
    PUBLISH = "new version into the registry, in all"
    FROM_STORE = "the same of a version that the store has"
    COLD = "pull, host has nothing"
    WARM = "pull again, host has all"
    FIRST = "start to first prediction"
    SECOND = "second replica, same host"
    SHARED = "second replica, cache shared on the host"
    NEW = "new version pulled, host has the old one"
    NEW_FIRST = "the same, to its first prediction"


class Cost(NamedTuple):
    """Seconds, and bytes to and from the registry."""

    seconds: float
    up: int
    down: int

    def __add__(self, other: object) -> Cost:
        assert isinstance(other, Cost)
        return Cost(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass
class Results:
    """Everything that one run measured, by size, way and stage; and the machine's load before."""

    load: float
    costs: dict[tuple[str, str, Stage], list[Cost]] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    digests: dict[str, set[str]] = field(default_factory=dict)

    def cost(self, size: str, way: str, stage: Stage) -> Cost | None:
        """Return the medians."""
        costs = self.costs.get((size, way, stage))
        if not costs:
            return None
        seconds, up, down = zip(*costs, strict=True)
        return Cost(statistics.median(seconds), statistics.median_low(up), statistics.median_low(down))

    def sure(self, size: str, way: str, stage: Stage) -> Cost:
        """Return the medians of what must have been measured."""
        cost = self.cost(size, way, stage)
        assert cost is not None, (size, way, stage)
        return cost

    @property
    def sizes(self) -> list[str]:
        """List the sizes that were measured."""
        return list(self.layers)


def tables(results: Results) -> str:
    """Write a table for each size: a row a stage, a column a way."""
    return "\n\n".join(f"### Model of {size}\n\n{_table(results, size)}" for size in results.sizes)


def write(results: Results) -> None:
    """Write the page and its chart."""
    CHART.write_text(chart(results))
    PAGE.write_text(_page(results))


def budgets(results: Results) -> list[Budget]:
    """Compare the small model's figures with the budgets."""
    ours, whole = (results.sure(SMALL, way, Stage.PUBLISH) for way in (IMAGE, WHOLE))
    first = results.sure(SMALL, IMAGE, Stage.FIRST).seconds
    faster, fewer = whole.seconds / ours.seconds, whole.up / ours.up
    beyond = (ours.up - results.layers[SMALL]) / 1024
    kinds = max(len(digests) for digests in results.digests.values())
    return [
        Budget(
            "new version built and pushed, whole process, s", "≤ 1", f"{ours.seconds:.2f}", ours.seconds <= 1
        ),
        Budget("sent beyond the layer, KB", "≤ 32", f"{beyond:.1f}", beyond <= 32),
        Budget("times faster than the whole Dockerfile", "≥ 10", f"{faster:.0f}", faster >= 10),
        Budget("times fewer bytes than it", "≥ 10", f"{fewer:.0f}", fewer >= 10),
        Budget("`podman run` to first prediction, s", "≤ 1.5", f"{first:.2f}", first <= 1.5),
        Budget("digests of one image built three times", "1", f"{kinds}", kinds == 1),
    ]


def chart(results: Results) -> str:
    """Draw, for each size, the time from a bundle to its first prediction, by stages, as SVG."""
    lines: list[str] = []
    top = 74
    for size in results.sizes:
        lines.append(f'<text x="12" y="{top}" font-weight="bold" class="text">Model of {size}</text>')
        longest = max(sum(_parts(results, size, way)) for way in WAYS)
        for way in WAYS:
            top += 30
            lines += _bar(way, top, _parts(results, size, way), longest)
        top += 46
    height = top - 20
    return "\n".join((*_head(height), *_legend(), *lines, "</svg>")) + "\n"


def _parts(results: Results, size: str, way: str) -> tuple[float, float, float]:
    published, brought, answered = (
        results.sure(size, way, stage).seconds for stage in (Stage.PUBLISH, Stage.NEW, Stage.NEW_FIRST)
    )
    return published, brought, answered - brought


def _head(height: int) -> list[str]:
    title = "New version, from a bundle to its first prediction on a host that has the old one, seconds"
    return [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
            f'viewBox="0 0 760 {height}" font-family="sans-serif" font-size="14" role="img" '
            f'aria-label="{title}">'
        ),
        # Shown as an image, it has the reader's scheme but not the colours of the page around it.
        "<style>.back{fill:#fff}.text{fill:#222}.a{fill:#1f6feb}.b{fill:#e3872d}.c{fill:#2da44e}",
        "@media (prefers-color-scheme:dark){.back{fill:#0d1117}.text{fill:#e6edf3}",
        ".a{fill:#58a6ff}.b{fill:#f0a35e}.c{fill:#56d364}}</style>",
        f'<rect class="back" width="760" height="{height}"/>',
        f'<text x="12" y="24" font-weight="bold" class="text">{title}</text>',
    ]


def _legend() -> list[str]:
    lines, left = [], 12
    for kind, words, width in (("a", "build and push", 130), ("b", "pull", 70), ("c", "start", 70)):
        lines.append(f'<rect x="{left}" y="37" width="12" height="12" rx="2" class="{kind}"/>')
        lines.append(f'<text x="{left + 18}" y="48" class="text">{words}</text>')
        left += width
    return lines


def _bar(way: str, top: int, parts: tuple[float, ...], longest: float) -> list[str]:
    left, lines = 300.0, [f'<text x="12" y="{top}" class="text">{way.replace("`", "")}</text>']
    for kind, seconds in zip("abc", parts, strict=True):
        width = max(1.0, 390 * seconds / longest)
        lines.append(f'<rect x="{left:.1f}" y="{top - 15}" width="{width:.1f}" height="20" class="{kind}"/>')
        left += width
    return [*lines, f'<text x="{left + 8:.0f}" y="{top}" class="text">{sum(parts):.1f}</text>']


def _table(results: Results, size: str) -> str:
    rows = [f"| | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    for stage in Stage:
        cells = [_cell(results.cost(size, way, stage), stage) for way in WAYS]
        rows.append(f"| {stage.value} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(cost: Cost | None, stage: Stage) -> str:
    if cost is None:
        return "–"
    upward = stage in {Stage.BUILD, Stage.PUSH, Stage.PUBLISH, Stage.FROM_STORE}
    moved = cost.up if upward else cost.down
    return f"{cost.seconds:.2f} s" + (f", {_bytes(moved)}" if moved > 999 else "")


def _bytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count > 1e5 else f"{count / 1e3:.1f} kB"


def _page(results: Results) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    parts = [
        "# What a new version costs",
        (
            f"Written by `make bench-release` on {today}: {machine()}; Python {platform.python_version()}; "
            f"{_versions()}. Whole commands against a docker-registry on the same machine, every byte "
            f"counted; medians of interleaved rounds: {_turns(results)}. A pull to an "
            "empty host was measured once, the whole Dockerfile built twice. Other work on this machine, as "
            f"load average before: {results.load:.1f}. "
            "There is no network between host and registry: behind a real one, bytes become seconds. "
            "Machines differ; ratios hold."
        ),
        f"![From a bundle to its first prediction]({CHART.name})",
        "## Advice",
        *_advice(results),
        "## Figures",
        "A cell is the time, and what went to the registry (above the line `pull`) or came from it.",
        tables(results),
        _ways(),
        f"## Budgets, model of {SMALL}",
        table(budgets(results)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _turns(results: Results) -> str:
    counts = [
        f"{len(results.costs[size, IMAGE, Stage.PUBLISH])} of publishing and "
        f"{len(results.costs[size, IMAGE, Stage.FIRST])} of starting with {size}"
        for size in results.sizes
    ]
    return ", ".join(counts)


def _versions() -> str:
    from support.images import run

    return ", ".join(run(name, "--version").split("(")[0].strip() for name in ("podman", "buildah"))


def _ways() -> str:
    return (
        f"{IMAGE} makes and pushes an image of a bundle in one step, on the runtime that `lading image "
        f"base` made. {ONTO} copies the bundle onto that same runtime. {WHOLE} copies libraries and model "
        "onto a root filesystem, on a builder that keeps no layers, as most CI runners do; fetching the "
        "libraries is not counted. model-load pushes the bundle, and an init container in each pod pulls "
        "it, as `lading deploy kubernetes --pattern load` writes it; with the shared cache there is none, "
        "and the server itself fetches (`lading serve REF`, `LADING_CACHE` on the host). The registry and "
        "the builder have root filesystem and runtime from the beginning, the host only where a row says "
        "so. Weights are random numbers, which hardly compress."
    )


def _advice(results: Results) -> list[str]:
    return [_either(results), _in_image(results), _load(results), _dockerfile(results), _large(results)]


def _either(results: Results) -> str:
    ours, load, store = (
        results.sure(SMALL, *which)
        for which in ((IMAGE, Stage.PUBLISH), (LOAD, Stage.PUBLISH), (IMAGE, Stage.FROM_STORE))
    )
    return (
        "**Choose by how you run, not by what a release costs.** A new version of a model of "
        f"{SMALL} is in the registry after {ours.seconds:.2f} s as an image and after {load.seconds:.2f} s "
        "as a bundle. Both hold the same blob: an image of a version that the store has sends "
        f"{_bytes(store.up)} more. So have both, and change your mind later."
    )


def _in_image(results: Results) -> str:
    second, other = (results.sure(LARGE, way, Stage.SECOND) for way in (IMAGE, LOAD))
    return (
        "**Model-in-image** where a node runs several replicas of one model, where it scales out often, or "
        "where pods must start while store and catalog are unreachable: one digest is deployed, and the "
        f"host keeps it once. With {LARGE}, the second replica on a host answers after "
        f"{second.seconds:.1f} s and fetches {_nothing(second.down)}; with model-load it is "
        f"{other.seconds:.1f} s and {_nothing(other.down)}, because each pod fetches its own."
    )


def _load(results: Results) -> str:
    shared, init = (results.sure(LARGE, LOAD, stage) for stage in (Stage.SHARED, Stage.SECOND))
    return (
        "**Model-load** where many models share hosts and one server image, where models change far more "
        "often than the runtime, or where images pass an approval that models do not: for a new version no "
        "image is made and none is pulled. The price is a store that must answer when a pod starts. Where "
        "replicas share a host, give them a common `LADING_CACHE`: then the second one answers after "
        f"{shared.seconds:.1f} s instead of {init.seconds:.1f} s with {LARGE}, and fetches "
        f"{_nothing(shared.down)}."
    )


def _dockerfile(results: Results) -> str:
    ours, onto, whole = (results.sure(SMALL, way, Stage.PUBLISH) for way in (IMAGE, ONTO, WHOLE))
    new, old = (results.sure(SMALL, way, Stage.NEW).down for way in (IMAGE, WHOLE))
    return (
        "**Keep the runtime apart from the model, whatever builds the image.** For a model of "
        f"{SMALL} the whole Dockerfile takes {whole.seconds / ours.seconds:.0f} times as long and sends "
        f"{whole.up / ours.up:.0f} times the bytes, and each host fetches {old / new:.0f} times as many. A "
        "Dockerfile that copies the model onto the runtime takes "
        f"{onto.seconds / ours.seconds:.1f} times as long as {IMAGE} and sends as little. What it lacks: a "
        "digest that is the same on every run, the labels that `lading image list`, `prune` and `verify` "
        "read, and the blob in common with the store. And it needs an engine."
    )


def _large(results: Results) -> str:
    ours, onto, load, whole = (results.sure(LARGE, way, Stage.PUBLISH) for way in (IMAGE, ONTO, LOAD, WHOLE))
    new, own = (results.sure(LARGE, way, Stage.NEW_FIRST).seconds for way in (IMAGE, LOAD))
    return (
        f"**With large models the bytes count.** {LARGE} are in the registry after {ours.seconds:.1f} s "
        f"({IMAGE}), {load.seconds:.1f} s (model-load), {onto.seconds:.1f} s (Dockerfile onto the runtime, "
        f"compressed on the way) and {whole.seconds:.1f} s (the whole Dockerfile). "
        "On a host that has the old version, the new one answers "
        f"{new:.1f} s after its pull begins in an image, and {own:.1f} s with model-load. Over a network of "
        f"1 Gbit/s every copy of it adds {ours.up * 8 / 1e9:.1f} s: count the copies, one a host in an image "
        "or a shared cache, one a pod with init containers."
    )


def _nothing(count: int) -> str:
    return "nothing" if count < 1e5 else _bytes(count)
