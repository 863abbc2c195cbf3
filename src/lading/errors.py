"""Every error lading raises, as one tree. Knows no protocol, no status code and no exit code.

REST, gRPC and the command line each hold one table from these classes to their own codes
(``server/protocols``, ``server/grpc``, ``cli/ui/exit_codes``); a test fails when a leaf is missing from any.
One long file, because the tree is one thing: a test holds the drawing and the classes to each other.

    LadingError
    ├── UsageError                wrong use, nothing was tried
    │   ├── InvalidReference        a model reference that cannot be read
    │   ├── InvalidName             a model or tag name outside the grammar
    │   ├── InvalidSetting          a flag, variable or file with an impossible value
    │   ├── KeyInvalid              a file that holds no key of a kind that signs here
    │   └── ExtraMissing            a part of lading that is not installed here
    ├── BundleError               a bundle that breaks a rule of FORMAT.md
    │   ├── ManifestInvalid         bundle.json is not the JSON that the format describes
    │   ├── ManifestNotCanonical    the right content in bytes that are not its canonical form
    │   ├── UnknownKey              a key that the format does not have
    │   ├── FormatUnsupported       a format number that this lading does not read
    │   ├── FileMissing             a file that the manifest names does not exist
    │   ├── FileUnexpected          a file exists that the manifest does not name
    │   ├── DigestMismatch          the bytes do not have the digest that the manifest states
    │   ├── SizeMismatch            the length is not the one that the manifest states
    │   ├── TooLarge                more than the reader's limit
    │   ├── PathUnsafe              an absolute path, `..`, or another name that leaves the bundle
    │   ├── LinkRefused             a symbolic or hard link
    │   ├── SpecialFileRefused      a device, FIFO or socket
    │   ├── DuplicateEntry          one name twice
    │   ├── ArchiveInvalid          not a tar file of the bundle's form
    │   ├── ExternalDataEscapes     the model reads a file outside the bundle
    │   ├── SamplesInvalid          golden samples that are unreadable or do not fit the signature
    │   ├── RequirementsInvalid     requirements.txt is not sorted lines of name==version
    │   └── EnvironmentLockInvalid  environment.lock is not sorted lines of name==version with their hashes
    ├── FeedError                 a feed of vulnerabilities or of ends of life that cannot be relied on
    │   ├── FeedInvalid             a file that is no feed, or exceeds a limit of reading them
    │   └── FeedStale               a feed that is older than it may be
    ├── ImageInvalid              a container image or wheel that cannot be read or built on
    ├── ConversionError           the model cannot be packed truthfully
    │   ├── ConverterMissing        no converter knows this model
    │   ├── ConverterFailed         the converter gave up
    │   ├── ParityLost              converted, but its answers differ from the framework's
    │   ├── SamplesRefused          samples that cannot prove anything
    │   └── RequirementsRefused     packages that no lock can pin: local ones, or in conflict
    ├── VerificationError         a bundle that does not hold here
    │   ├── ModelInvalid            the ONNX checker, the session or the code's own process rejects it
    │   ├── OperatorUnsupported     an opset, IR version or operator that this runtime does not have
    │   ├── SignatureMismatch       the manifest and the model disagree
    │   ├── GoldenMismatch          the golden samples give different answers here
    │   ├── BatchMismatch           a row alone and the same row in a batch give different answers
    │   ├── ModelCrashed            running the model ended its process with a signal
    │   ├── ModelEndless            loading or running the model did not end within its limit
    │   ├── GateNotMet              a number outside its limit
    │   ├── EvidenceFailed          verification failed before on this very image
    │   ├── EnvironmentFailed       the environment of a lock cannot be built here
    │   ├── CodeNotAllowed          the bundle runs more of its own than is allowed here
    │   ├── EnvironmentPythonMissing  no Python of the minor version that the bundle names
    │   ├── HistoryBroken           an event of a release was changed or left out
    │   └── TrustError              a bundle that a trust policy does not let in, or what was signed about it
    │       ├── AttestationInvalid    not the envelope, the statement or the predicate that it should be
    │       ├── SignatureInvalid      not what the key that it names has signed
    │       ├── SignerUnknown         signed by no key that counts here
    │       ├── SubjectMismatch       signed about other bytes
    │       ├── AttestationExpired    older than the policy allows
    │       ├── PredicateUnknown      of a type that neither lading nor the policy knows
    │       └── PolicyNotMet          fewer signatures, or more code, than the policy asks for
    ├── InputError                a request that does not fit the signature
    │   ├── BodyInvalid             not the JSON, CSV or frame that the protocol describes
    │   ├── ValueRefused            a value of another type, or one that a cast would change
    │   ├── ShapeRefused            a shape that is not the signature's
    │   ├── EmptyInput              no rows
    │   ├── InputMissing            an input or column that is absent
    │   ├── InputUnknown            an input or column that the signature does not have
    │   ├── CheckFailed             a value that fails an input check of a model that rejects
    │   └── OutputUnknown           an output that the signature does not have
    ├── NotFound                  the thing that was named does not exist
    │   ├── ModelNotFound
    │   ├── VersionNotFound
    │   ├── TagNotFound
    │   ├── BlobNotFound
    │   ├── ImageNotFound           no such container image, or none for this platform
    │   ├── LabelsNotFound          the model has no labels
    │   ├── ReplicaNotFound         the inventory lists no such server
    │   ├── JobNotFound             no job has this id, or its result is not kept any more
    │   └── RouteNotFound
    ├── MethodRefused             the route exists, but not for this method
    ├── MediaTypeRefused          a content type that the route does not read
    ├── AnswerTypeRefused         the client accepts only content types that the route does not write
    ├── AccessError               who asks may not do what is asked
    │   ├── CallerUnknown           no credential, or one that is wrong or over
    │   └── AccessDenied            a caller who is known, and was not granted this
    ├── OriginRefused             a page of another site, or a name that is not this server's
    ├── NotSupported              the protocol has it, this server does not implement it
    ├── LimitError                a limit of the server
    │   ├── BodyTooLarge
    │   ├── TooManyRows             more rows in one request than the server takes
    │   ├── RunTooLarge             a request whose run needs more memory than models may take
    │   ├── RequestTooLarge         a request that needs more memory than all may take together
    │   ├── AnswerTooLarge          an answer of more bytes than the server writes
    │   ├── ServerBusy              requests in flight take as much memory as they may
    │   ├── QueueFull
    │   ├── RateExceeded            more requests than a caller may send
    │   ├── MemoryShort             a model that would need more memory than is free
    │   ├── AttachmentTooLarge      an attestation, SBOM or scan of more bytes than are kept
    │   └── DeadlineExceeded
    ├── ConflictError             another actor's state stands in the way
    │   ├── DestinationExists
    │   ├── StillInUse
    │   ├── StaleRelease            another actor changed the release in the meantime
    │   ├── SignatureChanged        callers of the live version would notice the release
    │   ├── BatchChanged            files of a batch run are not those it began with, or has written
    │   ├── JobKeyReused            another job has this key
    │   └── JobEnded                a job that cannot be cancelled any more, or has no result
    ├── UnavailableError          may work later
    │   ├── ModelNotReady           loading, draining or failed
    │   ├── ModelProcessEnded       the process that runs a model's code has ended; another is started
    │   ├── IssuerUnavailable       the keys that tokens are checked with are not known yet
    │   ├── OutputInUse             another batch run is at work in the folder
    │   ├── RegistryUnavailable
    │   │   ├── CatalogTooNew
    │   │   └── RegistryReadOnly
    │   └── ServerUnavailable       the client could not reach it, or it is draining
    ├── RemoteError               a server answered the client with an error
    └── RunError                  a model that failed on a request that it should answer
        ├── RunFailed               the runtime failed on input that fits the signature
        ├── ModelCodeFailed         the model's own code raised an exception
        └── ModelOutputInvalid      the model's own code answered something other than its signature says

A message is one sentence, *where: expected X, found Y*; ``hint`` says what the reader can do. It quotes at
most 200 characters of anything, so that no answer is as long as the body that it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self, TypedDict, TypeVar, Unpack

_LONGEST_LINE = 300
_LONGEST_QUOTE = 200
_LONG_QUOTE = re.compile(f"`([^`]{{{_LONGEST_QUOTE + 1},}})`")
_LONGEST_MESSAGE = 4000
_Entry = TypeVar("_Entry")


# For the constructors of subclasses, which pass these on unread.
class Sentence(TypedDict, total=False):
    """The parts of a message that every error takes besides ``where``."""

    expected: str | None
    found: str | None
    hint: str | None


class LadingError(Exception):
    """State where something is not as it must be, what was expected and what was found.

    ``where`` alone is a whole sentence when nothing was expected of anything. The instance's attributes
    are exactly the arguments of its constructor, so that an error can be made again from ``vars(error)``.
    """

    def __init__(
        self,
        where: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        # `args` holds the message alone: unpickling calls the class with it and then sets the attributes.
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Return the sentence without the hint."""
        parts = []
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if (value := self._found()) is not None:
            parts.append(f"found {value}")
        text = f"{self.where}: {', '.join(parts)}" if parts else self.where
        if len(text) > _LONGEST_QUOTE:
            text = _shortened(text)
        return text if text.isprintable() else _printable(text)

    def with_hint(self, hint: str) -> Self:
        """Return the same error with another hint, to be raised in its place."""
        return type(self)(**{**vars(self), "hint": hint}).with_traceback(self.__traceback__)

    def _found(self) -> str | None:
        return self.found

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


def _shortened(text: str) -> str:
    # What is quoted may be the caller's, and as long as a body: both of its ends tell which it is.
    text = _LONG_QUOTE.sub(lambda quote: f"`{quote[1][:140]}…{quote[1][-50:]}`", text)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


def _printable(text: str) -> str:
    # The text may quote hostile input: escape line breaks, terminal sequences and lone surrogates.
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class UsageError(LadingError):
    """Wrong use; nothing was tried."""


class InvalidReference(UsageError):
    """A model reference that cannot be read."""


class InvalidName(UsageError):
    """A model or tag name outside the grammar."""


class InvalidSetting(UsageError):
    """A flag, variable or file with an impossible value."""


class KeyInvalid(UsageError):
    """A file that holds no key of a kind that signs or verifies here, or that cannot be read as one."""


class ExtraMissing(UsageError):
    """A part of lading that is not installed here."""


class BundleError(LadingError):
    """A bundle that breaks a rule of FORMAT.md."""


class ManifestInvalid(BundleError):
    """``bundle.json`` is not the JSON that the format describes."""


class ManifestNotCanonical(BundleError):
    """The right content in bytes that are not its canonical form."""


class UnknownKey(BundleError):
    """A key that the format does not have."""


class FormatUnsupported(BundleError):
    """A format number that this lading does not read."""


class FileMissing(BundleError):
    """A file that the manifest names does not exist."""


class FileUnexpected(BundleError):
    """A file exists that the manifest does not name."""


class DigestMismatch(BundleError):
    """The bytes do not have the digest that the manifest states."""


class SizeMismatch(BundleError):
    """The length is not the one that the manifest states."""


class TooLarge(BundleError):
    """More than the reader's limit."""


class PathUnsafe(BundleError):
    """An absolute path, ``..``, or another name that leaves the bundle."""


class LinkRefused(BundleError):
    """A symbolic or hard link."""


class SpecialFileRefused(BundleError):
    """A device, FIFO or socket."""


class DuplicateEntry(BundleError):
    """One name twice."""


class ArchiveInvalid(BundleError):
    """Not a tar file of the bundle's form."""


class ExternalDataEscapes(BundleError):
    """The model reads a file outside the bundle."""


class SamplesInvalid(BundleError):
    """Golden samples that are unreadable or do not fit the signature."""


class RequirementsInvalid(BundleError):
    """``requirements.txt`` is not sorted lines of ``name==version``."""


class EnvironmentLockInvalid(BundleError):
    """``environment.lock`` is not sorted lines of ``name==version`` with the sha256 of their wheels."""


class FeedError(LadingError):
    """A feed of vulnerabilities or of ends of life that cannot be relied on."""


class FeedInvalid(FeedError):
    """A file that is no feed, or exceeds a limit of reading them."""


class FeedStale(FeedError):
    """A feed that is older than it may be."""


class ImageInvalid(LadingError):
    """A container image or wheel that cannot be read or built on."""


class ConversionError(LadingError):
    """The model cannot be packed truthfully."""


class ConverterMissing(ConversionError):
    """No converter knows this model."""


class ConverterFailed(ConversionError):
    """The converter gave up."""


class ParityLost(ConversionError):
    """Converted, but its answers differ from the framework's."""


class SamplesRefused(ConversionError):
    """Samples that cannot prove anything."""


class RequirementsRefused(ConversionError):
    """Packages that no lock can pin: installed from a folder, on no index, or in conflict."""


class VerificationError(LadingError):
    """A bundle that does not hold here."""


class ModelInvalid(VerificationError):
    """The ONNX checker, the session or the code's own process rejects the model."""


class OperatorUnsupported(VerificationError):
    """An opset, IR version or operator that this runtime does not have."""


class SignatureMismatch(VerificationError):
    """The manifest and the model disagree."""


class GoldenMismatch(VerificationError):
    """The golden samples give different answers here."""


class BatchMismatch(VerificationError):
    """A row alone and the same row in a batch give different answers."""


class ModelCrashed(VerificationError):
    """Running the model ended its process with a signal."""


class ModelEndless(VerificationError):
    """Loading or running the model did not end within its limit."""


class GateNotMet(VerificationError):
    """A number outside its limit."""


class EvidenceFailed(VerificationError):
    """Verification failed before on this very image."""


class EnvironmentFailed(VerificationError):
    """The environment that a lock pins cannot be built on this host."""


class CodeNotAllowed(VerificationError):
    """The bundle has code or a pickle of its own, which may not run on this host."""


class EnvironmentPythonMissing(VerificationError):
    """The host has no Python of the minor version that the bundle was proved with."""


class HistoryBroken(VerificationError):
    """An event in the history of a model's releases was changed later or left out."""


class TrustError(VerificationError):
    """A bundle that a trust policy does not let in, or a statement about it that does not count."""


class AttestationInvalid(TrustError):
    """Bytes that are not the envelope, the statement or the predicate that they should be."""


class SignatureInvalid(TrustError):
    """A signature that the key which it names did not make over these bytes."""


class SignerUnknown(TrustError):
    """A signature by no key that counts here."""


class SubjectMismatch(TrustError):
    """A statement about other bytes than those at hand."""


class AttestationExpired(TrustError):
    """A statement that is older than the policy allows, or that does not say how old it is."""


class PredicateUnknown(TrustError):
    """A statement of a type that neither lading nor the policy knows."""


class PolicyNotMet(TrustError):
    """Fewer signatures, or fewer roles, or more code of its own, than the policy asks for."""


class InputError(LadingError):
    """A request that does not fit the signature.

    ``path`` is the place of the offending value in the caller's JSON (``$.data[3][0]``), if it has one.
    """

    def __init__(self, where: str, *, path: str | None = None, **sentence: Unpack[Sentence]) -> None:
        self.path = path
        super().__init__(where, **sentence)

    def _found(self) -> str | None:
        return self.found if self.path is None else f"{self.found} at `{self.path}`"


class BodyInvalid(InputError):
    """Not the JSON, CSV or frame that the protocol describes."""


class ValueRefused(InputError):
    """A value of another type, or one that a cast would change."""


class ShapeRefused(InputError):
    """A shape that is not the signature's."""


class EmptyInput(InputError):
    """No rows."""


class InputMissing(InputError):
    """An input or column that is absent."""


class InputUnknown(InputError):
    """An input or column that the signature does not have."""


class CheckFailed(InputError):
    """A value that fails an input check of a model that rejects."""


class OutputUnknown(InputError):
    """An output that the signature does not have."""


class NotFound(LadingError):
    """The thing that was named does not exist."""


class ModelNotFound(NotFound):
    """No model of this name; ``model`` is the name that was looked for."""

    def __init__(self, where: str, *, model: str = "", **sentence: Unpack[Sentence]) -> None:
        self.model = model
        super().__init__(where, **sentence)


class VersionNotFound(NotFound):
    """The model has no such version."""


class TagNotFound(NotFound):
    """The model has no such tag."""


class BlobNotFound(NotFound):
    """The store does not hold these bytes."""


class ImageNotFound(NotFound):
    """No such container image, or none for this platform."""


class LabelsNotFound(NotFound):
    """The model has no labels."""


class ReplicaNotFound(NotFound):
    """The inventory lists no such server, or more than one of that name."""


class JobNotFound(NotFound):
    """No job has this id, or its result is not kept any more."""


class RouteNotFound(NotFound):
    """The server has no such route."""


class MethodRefused(LadingError):
    """The route exists, but not for this method; ``allowed`` lists the methods that it has."""

    def __init__(self, where: str, *, allowed: tuple[str, ...] = (), **sentence: Unpack[Sentence]) -> None:
        self.allowed = allowed
        super().__init__(where, **sentence)


class MediaTypeRefused(LadingError):
    """A content type that the route does not read."""


class AnswerTypeRefused(LadingError):
    """The client accepts only content types that the route does not write."""


class AccessError(LadingError):
    """Who asks may not do what is asked."""


class CallerUnknown(AccessError):
    """No credential, or one that is wrong, or over."""


class AccessDenied(AccessError):
    """A caller who is known, and was not granted what is asked."""


class OriginRefused(LadingError):
    """A request that changes something, from a page of another site or under a foreign name."""


class NotSupported(LadingError):
    """The protocol has it, this server does not implement it."""


class LimitError(LadingError):
    """A limit of the server."""


class BodyTooLarge(LimitError):
    """A request body above ``max_body_bytes``."""


class TooManyRows(LimitError):
    """A request of more rows than ``max_request_rows``."""


class RunTooLarge(LimitError):
    """A request whose run needs more memory than ``model_memory_mb`` leaves, or than there is."""


class RequestTooLarge(LimitError):
    """A request that alone needs more memory than ``request_memory_mb``."""


class AnswerTooLarge(LimitError):
    """Outputs of more bytes than ``max_answer_bytes``."""


class ServerBusy(LimitError):
    """Requests in flight take ``request_memory_mb`` together; the client may retry."""


class QueueFull(LimitError):
    """More requests wait than ``max_queue``; the client may retry after ``retry_after_s``."""

    def __init__(self, where: str, *, retry_after_s: int = 1, **sentence: Unpack[Sentence]) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(where, **sentence)


class RateExceeded(LimitError):
    """More requests than a caller may send; one more may come after ``retry_after_s``."""

    def __init__(self, where: str, *, retry_after_s: int = 1, **sentence: Unpack[Sentence]) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(where, **sentence)


class MemoryShort(LimitError):
    """A model that would need more memory than is free."""


class AttachmentTooLarge(LimitError):
    """An attestation, an SBOM or a scan of more bytes than are kept."""


class DeadlineExceeded(LimitError):
    """Not answered within ``deadline_s``."""


class ConflictError(LadingError):
    """Another actor's state stands in the way."""


class DestinationExists(ConflictError):
    """Something already exists where the result should go."""


class StillInUse(ConflictError):
    """A version, release or replica still names it."""


class StaleRelease(ConflictError):
    """Another actor changed the release in the meantime."""


class SignatureChanged(ConflictError):
    """Callers of the live version would notice the release."""


class BatchChanged(ConflictError):
    """Files of a batch run are not those that it was begun with, or that it has written."""


class JobKeyReused(ConflictError):
    """Another job has this key."""


class JobEnded(ConflictError):
    """A job that cannot be cancelled any more, or has no result."""


class UnavailableError(LadingError):
    """May work later."""


class ModelNotReady(UnavailableError):
    """The model is loading, draining or has failed."""


class ModelProcessEnded(UnavailableError):
    """The process that runs a model's code has ended, or none runs; another is started."""


class IssuerUnavailable(UnavailableError):
    """The keys that tokens of an issuer are checked with are not known yet; the client may retry."""


class OutputInUse(UnavailableError):
    """Another batch run is at work in the folder that was to be written to."""


class RegistryUnavailable(UnavailableError):
    """The catalog or the store does not answer."""


class CatalogTooNew(RegistryUnavailable):
    """A newer lading wrote the catalog; waiting does not help, an upgrade does."""


class RegistryReadOnly(RegistryUnavailable):
    """The registry answers, but cannot be written to from here."""


class ServerUnavailable(UnavailableError):
    """The server could not be reached, or is draining."""


class RemoteError(LadingError):
    """A server answered the client with an error; ``status`` is its HTTP status, ``code`` its name.

    ``status`` is 0 where the answer was no HTTP response, ``code`` empty where the server names none.
    """

    def __init__(self, where: str, *, status: int = 0, code: str = "", **sentence: Unpack[Sentence]) -> None:
        self.status = status
        self.code = code
        super().__init__(where, **sentence)


class RunError(LadingError):
    """A model that failed on a request that it should answer."""


class RunFailed(RunError):
    """The runtime failed on input that fits the signature."""


class ModelCodeFailed(RunError):
    """The model's own code raised an exception; the log has its traceback."""


class ModelOutputInvalid(RunError):
    """The model's own code answered something other than its signature says."""


def nearest(table: Mapping[type[LadingError], _Entry], error: LadingError) -> _Entry:
    """Return the entry of `table` for the class of `error`, or for the nearest class above it.

    Raises `LookupError` where no class of the error is in the table; tests hold that none is missing.
    """
    for kind in type(error).__mro__:
        if kind in table:
            return table[kind]
    raise LookupError(f"{type(error).__name__} is missing from a table of errors")


def missing_extra(subject: str, extra: str, error: ImportError, *, instead: str = "") -> ExtraMissing:
    """Return the error of a `subject` that needs an extra of lading; `instead` is another way."""
    reason = f"no module `{error.name}`" if isinstance(error, ModuleNotFoundError) else str(error)
    hint = f"{pip_install(extra)}, or {instead}" if instead else pip_install(extra)
    return ExtraMissing(subject, expected=f"the extra `{extra}`", found=reason, hint=hint)


DISTRIBUTION = "lading-ml"
"""The name by which pip knows lading: what PyPI has as ``lading`` is another project."""


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of lading, quoted for a sentence."""
    return f"`pip install '{DISTRIBUTION}[{extra}]'`"


def mid_sentence(sentence: str) -> str:
    """Return another library's sentence as the middle of one of ours: ``Expected …`` but ``JSON …``."""
    first, second = sentence[:1], sentence[1:2]
    # An upper-case second letter is an acronym, which keeps its capitals.
    return first.lower() + sentence[1:] if second.islower() else sentence


def one_line(error: BaseException) -> str:
    """Return the message of another library's error as one line, cut after 300 characters."""
    # onnx appends its C++ stack trace to the message.
    text = " ".join(str(error).partition("\nStacktrace:")[0].split())
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


def leaves(kind: type[LadingError] = LadingError) -> list[type[LadingError]]:
    """List the classes of the tree that have no subclass, in the order they are written."""
    below = kind.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [kind]
