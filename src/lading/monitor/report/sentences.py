"""What is known of a model in sentences, the verdict first. The terminal and the page say the same.

Decides nothing: which columns and metrics alarm is in the status.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lading.alarms import Alarm
from lading.monitor.report import figures
from lading.monitor.report.cells import largest_difference
from lading.monitor.report.saying import Say, capitalised, in_english
from lading.monitor.status import ColumnStatus, MetricStatus, ModelStatus

_OF_COLUMNS = ("drift", "missing")
_LONGEST_TEXT = 300
_METRICS = ("accuracy", "estimated accuracy")
_MOST_NAMED = 3
NOTHING_ALARMS = "Nothing alarms."
NOT_CERTAIN = (
    "The difference is large so far, but not certain yet: the first days teach how much hours differ."
)
_LARGE_PSI = 0.2
"""Where the usual reading of the population stability index speaks of a large change."""

ALARM_NOUNS = {
    "missing": "missing values",
    "decay": "accuracy",
    "slice": "accuracy by slice",
    "estimated": "estimated accuracy",
    "input-checks": "input checks",
}
_WEAK_REFERENCE_ROWS = 100


class Name(str):
    """The name of a column, output or slice inside a sentence."""

    __slots__ = ()


class ColumnName(Name):
    """The name of a column that a sentence is about, not of a category or slice that is called alike."""

    __slots__ = ()


Sentence = tuple[str, ...]
"""A sentence in pieces, so that a page can set names apart from words: those that are a `Name`."""


def sentence_of(text: str) -> Sentence:
    """Return a text with names in backticks, such as that of an alarm, as a sentence."""
    pieces = text.replace(" -> ", " → ").split("`")
    # An odd number of backticks: some of them are no quotes.
    if len(pieces) % 2 == 0:
        return ("`".join(pieces),)
    return tuple(Name(piece) if at % 2 else piece for at, piece in enumerate(pieces) if piece)


def plain(sentence: Sentence) -> str:
    """Return a sentence as text, with names in backticks."""
    return "".join(f"`{piece}`" if isinstance(piece, Name) else piece for piece in sentence)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that alarms: what it is about, since when, from which release on, and what changed."""

    kind: str
    subject: str
    change: str
    began_at: float | None
    release: int


def findings(status: ModelStatus) -> list[Finding]:
    """Return everything that alarms, what changed first at the beginning; unknown beginnings come last."""
    # A column and its alarm are one finding, so that nothing is counted twice.
    everything = [
        *(_of_column(status, column) for column in status.columns if is_alarming(status, column)),
        *(_of_metric(status, metric) for metric in status.metrics if metric_alarms(status, metric)),
        *(_of_alarm(alarm) for alarm in _others(status)),
    ]
    return sorted(everything, key=lambda finding: (finding.began_at is None, finding.began_at or 0.0))


def is_alarming(status: ModelStatus, column: ColumnStatus) -> bool:
    """Return whether a column alarms, by its own state or by an open alarm about it."""
    return column.is_alarming or _column_alarm(status, column) is not None


def metric_alarms(status: ModelStatus, metric: MetricStatus) -> bool:
    """Return whether a metric alarms, by its own state or by an open alarm about it."""
    return metric.is_alarming or _metric_alarm(status, metric) is not None


def _of_column(status: ModelStatus, column: ColumnStatus) -> Finding:
    alarm = _column_alarm(status, column)
    change = column.change or (alarm.text.removeprefix(f"`{column.name}` ") if alarm else "")
    return Finding("column", column.name, change[:_LONGEST_TEXT], *_beginning(status, column.began_at, alarm))


def _of_metric(status: ModelStatus, metric: MetricStatus) -> Finding:
    beginning = _beginning(status, None, _metric_alarm(status, metric))
    return Finding(metric.kind, metric.slice, metric_change(metric), *beginning)


def _of_alarm(alarm: Alarm) -> Finding:
    return Finding(alarm.kind, alarm.subject, alarm.text[:_LONGEST_TEXT], alarm.began_at, alarm.release)


def _others(status: ModelStatus) -> list[Alarm]:
    """Return the open alarms that no column and no metric of the status stands for."""
    columns = {column.name for column in status.columns}
    metrics = {subject for metric in status.metrics for subject in _metric_subjects(metric)}
    return [
        alarm
        for alarm in status.alarms
        if alarm.is_open
        and not (alarm.kind in _OF_COLUMNS and alarm.subject in columns)
        and (alarm.kind, alarm.subject) not in metrics
    ]


def _column_alarm(status: ModelStatus, column: ColumnStatus) -> Alarm | None:
    return _first_alarm(status, {(kind, column.name) for kind in _OF_COLUMNS})


def _metric_alarm(status: ModelStatus, metric: MetricStatus) -> Alarm | None:
    return _first_alarm(status, _metric_subjects(metric))


def _metric_subjects(metric: MetricStatus) -> set[tuple[str, str]]:
    """Return the kinds and subjects of alarms about a metric."""
    if metric.slice:
        return {("slice", metric.slice)}
    kind = "decay" if metric.kind == "accuracy" else "estimated"
    return {(kind, ""), (kind, metric.kind)}


def _first_alarm(status: ModelStatus, subjects: set[tuple[str, str]]) -> Alarm | None:
    """Return the open alarm about one of these kinds and subjects that began first."""
    matching = [alarm for alarm in status.alarms if alarm.is_open and (alarm.kind, alarm.subject) in subjects]
    return min(matching, key=lambda alarm: alarm.began_at, default=None)


def _beginning(status: ModelStatus, began_at: float | None, alarm: Alarm | None) -> tuple[float | None, int]:
    # The release that an alarm names is the one with which the change came, which may be over by now.
    if alarm is None:
        return began_at, status.release
    return alarm.began_at if began_at is None else began_at, alarm.release


def known_columns(status: ModelStatus) -> list[ColumnStatus]:
    """Return the columns of which live values were counted."""
    return [column for column in status.columns if column.rows]


def unknown_columns(status: ModelStatus) -> list[ColumnStatus]:
    """Return the columns of which nothing is known."""
    return [column for column in status.columns if not column.rows]


def verdict(status: ModelStatus) -> list[Sentence]:
    """Return the verdict in sentences: what alarms and since when, what changed first, what is not known."""
    alarming = findings(status)
    sentences: list[Sentence] = []
    if not known_columns(status) and not status.metrics and not alarming:
        return [(f"Nothing is known of this period: {_why_nothing(status)}.",)]
    # "Nothing alarms" and "nothing is known" are different answers.
    if not alarming:
        sentences.append((_no_alarm(status),))
    columns = [finding for finding in alarming if finding.kind == "column"]
    first = [_first(alarming)] if alarming and alarming[0].began_at is not None else []
    others = [_sentence(finding) for finding in alarming if finding.kind != "column"][:_MOST_NAMED]
    if columns:
        sentences += [(_drifted(status, columns),), *first, *others]
    else:
        sentences += [*others, *first]
    missing = len(unknown_columns(status))
    if missing:
        which = "any column" if missing == len(status.columns) else f"{missing} of {_columns(status)}"
        sentences.append((f"Nothing is known of {which}.",))
    return sentences


def _no_alarm(status: ModelStatus) -> str:
    due = [column for column in known_columns(status) if column.is_tested]
    waiting = sum(1 for column in due if column.log_e is None)
    if not waiting:
        return NOTHING_ALARMS
    if waiting == len(due):
        return "No column has been tested, so it is not known whether any has drifted."
    verb = "has" if waiting == 1 else "have"
    return f"Nothing alarms, but {waiting} of {_columns(status)} {verb} not been tested."


def _why_nothing(status: ModelStatus) -> str:
    # Without a digest, no version answered.
    if status.digest and not status.reference:
        return "the bundle has no profile to compare live rows with"
    return "no live rows were counted"


def _drifted(status: ModelStatus, columns: Sequence[Finding]) -> str:
    verb = "has" if len(columns) == 1 else "have"
    began = [finding for finding in columns if finding.began_at is not None]
    text = f"{len(columns)} of {_columns(status)} {verb} drifted"
    # Findings are in the order in which they began.
    if not began:
        return f"{text}."
    release = f" (release {began[0].release})" if began[0].release else ""
    return f"{text} since {figures.moment(began[0].began_at or 0.0)}{release}."


def _columns(status: ModelStatus) -> str:
    return figures.plural(len(status.columns), "column")


def _first(alarming: Sequence[Finding]) -> Sentence:
    """Return which of the findings began first; several may have begun in the same window."""
    # Windows are minutes long: whatever broke at once is dated alike.
    earliest = [finding for finding in alarming if finding.began_at == alarming[0].began_at]
    if len(alarming) == 1:
        if alarming[0].kind != "column":
            return (f"It began at {figures.moment(alarming[0].began_at or 0.0)}.",)
        return (*subject(alarming[0]), *sentence_of(f": {_end(alarming[0].change or 'it changed')}"))
    if len(earliest) > _MOST_NAMED:
        named = _listed([subject(finding) for finding in earliest[:_MOST_NAMED]], last=", ")
        return (
            *_capitalised(named),
            f" and {len(earliest) - _MOST_NAMED} more changed first, at the same time.",
        )
    if len(earliest) == 1:
        # A metric says what changed in a sentence of its own, right after this.
        change = earliest[0].change if earliest[0].kind == "column" else ""
        end = f" changed first: {_end(change)}" if change else " changed first."
        return (*_capitalised(subject(earliest[0])), *sentence_of(end))
    parts = [
        (*subject(finding), *(sentence_of(f" ({finding.change})") if finding.kind == "column" else ()))
        for finding in earliest
    ]
    return (*_capitalised(_listed(parts)), " changed first, at the same time.")


def subject(finding: Finding) -> Sentence:
    """Return what a finding is about: a column, a metric and its slice, or the input checks."""
    if finding.kind == "column":
        return (ColumnName(finding.subject),)
    if finding.kind in _METRICS:
        return (finding.kind, " where ", Name(finding.subject)) if finding.subject else (finding.kind,)
    if finding.kind == "slice":
        return ("accuracy where ", Name(finding.subject))
    noun = ALARM_NOUNS.get(finding.kind, finding.kind)
    return (noun, " of ", Name(finding.subject)) if finding.subject else (noun,)


def finding_sentence(finding: Finding) -> Sentence:
    """Return a finding in a few words, its subject first, as a list has it."""
    if finding.kind == "column" or finding.kind in _METRICS:
        return (*subject(finding), *(sentence_of(f": {finding.change}") if finding.change else ()))
    return sentence_of(finding.change)


def _sentence(finding: Finding) -> Sentence:
    if finding.kind in _METRICS:
        return (*_capitalised(subject(finding)), f" is {_end(finding.change)}")
    # The text of an alarm is a sentence that names its subject.
    return _capitalised(sentence_of(_end(finding.change)))


def _listed(items: Sequence[Sentence], last: str = " and ") -> Sentence:
    pieces: list[str] = []
    for at, item in enumerate(items):
        if at:
            pieces.append(last if at == len(items) - 1 else ", ")
        pieces += item
    return tuple(pieces)


def _capitalised(sentence: Sentence) -> Sentence:
    first, *rest = sentence
    # A name is written as it is.
    return sentence if isinstance(first, Name) else (first[:1].upper() + first[1:], *rest)


def _end(text: str) -> str:
    """Return `text` with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def metric_change(metric: MetricStatus) -> str:
    """Return a metric with its interval and, if known, what the reference has."""
    text = f"{figures.rate(metric.value)} (95 % interval {interval(metric)})"
    return text if metric.reference is None else f"{text}; {figures.rate(metric.reference)} on the reference"


def interval(metric: MetricStatus) -> str:
    """Return the interval of a metric: ``79.1–82.4 %``."""
    return f"{100 * metric.lower:.1f}–{figures.rate(metric.upper)}"


def metric_basis(metric: MetricStatus) -> str:
    """Return in a sentence which rows a metric is of, and how late their labels came."""
    if metric.kind != "accuracy":
        return f"Estimated without labels, over {figures.plural(metric.rows, 'row')}."
    if not metric.labelled:
        return f"Nothing is known: none of {figures.plural(metric.rows, 'row')} has a label by now."
    verb = "has" if metric.labelled == 1 else "have"
    text = f"{figures.count(metric.labelled)} of {figures.plural(metric.rows, 'row')} {verb} a label by now"
    if metric.delay_s is None:
        return f"{text}."
    return f"{text}; half of the labels came within {figures.span(metric.delay_s)} of the answer."


def unknowns(status: ModelStatus) -> list[Sentence]:
    """Return what cannot be said, and of which columns nothing is known."""
    sentences = [_capitalised(sentence_of(_end(text[:_LONGEST_TEXT]))) for text in status.unknown]
    missing = unknown_columns(status)
    if missing and status.reference:
        names = _listed([(Name(column.name),) for column in missing[:10]], last=", ")
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        sentences.append(("No live value was counted, so nothing is known, of ", *names, f"{more}."))
    if not status.reference and not status.unknown:
        sentences.append(("The bundle has no profile, so live columns are compared with nothing.",))
    elif status.reference and status.reference_rows < _WEAK_REFERENCE_ROWS and not status.unknown:
        few = f"The reference is only {figures.plural(status.reference_rows, 'row')}"
        sentences.append((f"{few}: it shows large changes, and small ones stay unknown.",))
    # Not a fault, but a share of the rows does not show what happens to one row in a million.
    if status.seen > status.rows:
        left_out, seen = figures.count(status.seen - status.rows), figures.plural(status.seen, "row")
        text = f"{left_out} of {seen} were not counted; those that were are a random share."
        sentences.append((text,))
    return sentences


def comparison(status: ModelStatus) -> str:
    """Return what live rows are compared with."""
    rows = figures.plural(status.reference_rows, "row")
    return {
        "": "nothing: the bundle has no profile" if status.digest else "nothing",
        "golden samples": f"the golden samples of the bundle, {rows}: a weak reference",
        "log": f"logged requests, {rows}",
    }.get(status.reference, f"{status.reference} of {rows}")


def title(status: ModelStatus) -> str:
    """Return the model with its version, if that is known."""
    return f"{status.name}:{status.version}" if status.version else status.name


def period(status: ModelStatus) -> str:
    """Return the period: ``2026-11-29 06:00 to 2026-11-30 06:00 UTC (24 h)``."""
    since, until = figures.moment(status.since), figures.moment(status.until)
    return f"{since.removesuffix(' UTC')} to {until} ({figures.span(status.until - status.since)})"


def counted(status: ModelStatus) -> str:
    """Return how many rows were counted of those that passed, and on how many replicas."""
    of = f" of {figures.count(status.seen)}" if status.seen > status.rows else ""
    rows = f"{figures.count(status.rows)}{of} {'row' if (status.seen or status.rows) == 1 else 'rows'}"
    replicas = len(status.replicas)
    return f"{rows}, {figures.plural(replicas, 'replica')}" if replicas else rows


def false_alarms(status: ModelStatus) -> str:
    """Return the stated false-alarm rate in a sentence."""
    return (
        "If live rows were drawn as the reference was, the chance that any column ever raised an alarm would "
        f"be at most {100 * status.alpha:g} %, however often somebody looks."
    )


def evidence(column: ColumnStatus) -> str:
    """Return in a sentence how strong the evidence of a change is."""
    if not column.is_tested:
        return "Not tested: it changes by its nature, and raises no alarm."
    if column.log_e is None:
        return "Not tested."
    # By Ville's inequality, an unchanged column ever reaches an e-value of x with a chance of 1/x at most.
    times = math.exp(min(column.log_e, 50.0))
    if times < 3:
        return NOT_CERTAIN if is_large(column) else "No evidence of a change so far."
    # Beyond this, the exponent says no more to people.
    if times >= 1e9:
        return "Overwhelming evidence: fewer than 1 in a billion unchanged columns would ever show as much."
    word = "Weak" if times < 20 else "Some" if times < 1000 else "Strong"
    return f"{word} evidence: at most {figures.one_in(times)} unchanged columns would ever show as much."


def is_large(column: ColumnStatus) -> bool:
    """Return whether a column differs from its reference by more than is usually called large."""
    return column.psi is not None and column.psi > _LARGE_PSI


def description(column: ColumnStatus, say: Say = in_english, change: str | None = None) -> str:
    """Return the chart of a column in a sentence, for those who do not see it.

    `change` is what changed in the language of `say`, if that is another than the monitor's.
    """
    cell = largest_difference(column, say)
    difference = say(
        "The largest difference is in {cell}: {reference} of the reference, {live} of live rows.",
        cell=cell.label[:80],
        reference=figures.share(cell.reference),
        live=figures.share(cell.live),
    )
    change = (column.change if change is None else change)[:_LONGEST_TEXT]
    return f"{capitalised(_end(change))} {difference}" if change else difference


def ranked(status: ModelStatus, columns: Iterable[ColumnStatus]) -> list[ColumnStatus]:
    """Return columns with those that alarm first, then by PSI; then untested ones, then unknown ones."""
    return sorted(
        columns,
        key=lambda column: (
            not is_alarming(status, column),
            not column.rows,
            not column.is_tested,
            -(column.psi if column.psi is not None else -1.0),
        ),
    )
