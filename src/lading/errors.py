"""Every error lading raises, as one tree. Knows no protocol, no status code and no exit code.

REST, gRPC and the command line each hold one table from these classes to their own codes
(``server/protocols``, ``server/grpc``, ``cli``); a test fails when a leaf is missing from any.

    LadingError
    ├── UsageError                wrong use, nothing was tried
    │   ├── InvalidReference        a model reference that cannot be read
    │   ├── InvalidName             a model or tag name outside the grammar
    │   ├── InvalidSetting          a flag, variable or file that says something impossible
    │   └── ExtraMissing            a part of lading that is not installed here
    ├── BundleError               a bundle that breaks a rule of FORMAT.md
    │   ├── ManifestInvalid         bundle.json is not the JSON that the format describes
    │   ├── ManifestNotCanonical    the right content, but other bytes than its canonical form
    │   ├── UnknownKey              a key that the format does not have
    │   ├── FormatUnsupported       another format number than this lading reads
    │   ├── FileMissing             the manifest names it, it is not there
    │   ├── FileUnexpected          it is there, the manifest does not name it
    │   ├── DigestMismatch          other bytes than the manifest says
    │   ├── SizeMismatch            another length than the manifest says
    │   ├── TooLarge                more than the reader's limit
    │   ├── PathUnsafe              an absolute path, `..`, or another name that leaves the bundle
    │   ├── LinkRefused             a symbolic or hard link
    │   ├── SpecialFileRefused      a device, FIFO or socket
    │   ├── DuplicateEntry          one name twice
    │   ├── ArchiveInvalid          not a tar file of the bundle's form
    │   ├── ExternalDataEscapes     the model reads a file outside the bundle
    │   ├── SamplesInvalid          golden samples that are unreadable or do not fit the signature
    │   └── RequirementsInvalid     requirements.txt is not sorted lines of name==version
    ├── ImageInvalid              not a container image, or no wheel, that one can read or build on
    ├── ConversionError           the model cannot be packed truthfully
    │   ├── ConverterMissing        no converter knows this model
    │   ├── ConverterFailed         the converter gave up
    │   ├── ParityLost              converted, but it answers otherwise than the framework
    │   └── SamplesRefused          samples that cannot prove anything
    ├── VerificationError         a bundle that does not hold here
    │   ├── ModelInvalid            the ONNX checker or the session refuses the model
    │   ├── OperatorUnsupported     an opset, IR version or operator this runtime does not have
    │   ├── SignatureMismatch       the manifest says one thing, the model another
    │   ├── GoldenMismatch          the golden samples give other answers here
    │   ├── BatchMismatch           one row alone and among others give different answers
    │   ├── GateNotMet              a number outside its limit
    │   ├── EvidenceFailed          it was verified on this very image, and did not hold
    │   └── HistoryBroken           an event of a release that was changed or left out
    ├── InputError                a request that does not fit the signature
    │   ├── BodyInvalid             not the JSON, CSV or frame that the protocol describes
    │   ├── ValueRefused            a value that is of another type or would change
    │   ├── ShapeRefused            another shape than the signature's
    │   ├── EmptyInput              no rows
    │   ├── InputMissing            an input or column that is not there
    │   ├── InputUnknown            an input or column that the signature does not have
    │   └── OutputUnknown           an output that the signature does not have
    ├── NotFound                  what was named is not there
    │   ├── ModelNotFound
    │   ├── VersionNotFound
    │   ├── TagNotFound
    │   ├── BlobNotFound
    │   ├── ImageNotFound           no such container image, or not for this platform
    │   ├── LabelsNotFound          the model has no labels
    │   ├── ReplicaNotFound         the inventory lists no such server
    │   └── RouteNotFound
    ├── MethodRefused             the route is there, but not for this method
    ├── MediaTypeRefused          a content type that the route does not read
    ├── NotSupported              the protocol has it, this server does not do it
    ├── LimitError                a limit of the server
    │   ├── BodyTooLarge
    │   ├── QueueFull
    │   ├── MemoryShort             a model that would need more memory than there is
    │   └── DeadlineExceeded
    ├── ConflictError             somebody else's state stands in the way
    │   ├── DestinationExists
    │   ├── StillInUse
    │   └── StaleRelease            the release was changed by somebody else meanwhile
    ├── UnavailableError          may work later
    │   ├── ModelNotReady           loading, draining or failed
    │   ├── RegistryUnavailable
    │   │   └── CatalogTooNew
    │   └── ServerUnavailable       the client could not reach it, or it is draining
    ├── RemoteError               a server answered the client with an error
    └── RunFailed                 the runtime failed on input that fits the signature

A message is one sentence, *where: expected X, found Y*; ``hint`` says what the reader can do.
"""

from __future__ import annotations


class LadingError(Exception):
    """Say where something is not as it must be, what was expected and what was found.

    ``where`` alone is a whole sentence when nothing was expected of anything.
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
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The sentence without the hint."""
        parts = []
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        text = f"{self.where}: {', '.join(parts)}" if parts else self.where
        return text if text.isprintable() else _printable(text)

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


def _printable(text: str) -> str:
    # What was found may be hostile: no line break, escape sequence or lone surrogate of it is passed on.
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class UsageError(LadingError):
    """Wrong use: nothing was tried."""


class InvalidReference(UsageError):
    """A model reference that cannot be read."""


class InvalidName(UsageError):
    """A model or tag name outside the grammar."""


class InvalidSetting(UsageError):
    """A flag, variable or file that says something impossible."""


class ExtraMissing(UsageError):
    """A part of lading that is not installed here."""


class BundleError(LadingError):
    """A bundle that breaks a rule of FORMAT.md."""


class ManifestInvalid(BundleError):
    """``bundle.json`` is not the JSON that the format describes."""


class ManifestNotCanonical(BundleError):
    """The right content, but other bytes than its canonical form."""


class UnknownKey(BundleError):
    """A key that the format does not have."""


class FormatUnsupported(BundleError):
    """Another format number than this lading reads."""


class FileMissing(BundleError):
    """The manifest names a file that is not there."""


class FileUnexpected(BundleError):
    """A file is there that the manifest does not name."""


class DigestMismatch(BundleError):
    """Other bytes than the manifest says."""


class SizeMismatch(BundleError):
    """Another length than the manifest says."""


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


class ImageInvalid(LadingError):
    """Not a container image, or no wheel, that one can read or build on."""


class ConversionError(LadingError):
    """The model cannot be packed truthfully."""


class ConverterMissing(ConversionError):
    """No converter knows this model."""


class ConverterFailed(ConversionError):
    """The converter gave up."""


class ParityLost(ConversionError):
    """Converted, but it answers otherwise than the framework."""


class SamplesRefused(ConversionError):
    """Samples that cannot prove anything."""


class VerificationError(LadingError):
    """A bundle that does not hold here."""


class ModelInvalid(VerificationError):
    """The ONNX checker or the session refuses the model."""


class OperatorUnsupported(VerificationError):
    """An opset, IR version or operator this runtime does not have."""


class SignatureMismatch(VerificationError):
    """The manifest says one thing, the model another."""


class GoldenMismatch(VerificationError):
    """The golden samples give other answers here."""


class BatchMismatch(VerificationError):
    """One row alone and among others give different answers."""


class GateNotMet(VerificationError):
    """A number outside its limit."""


class EvidenceFailed(VerificationError):
    """The bundle was verified on this very image before, and did not hold."""


class HistoryBroken(VerificationError):
    """An event in the history of a model's releases was changed afterwards, or left out."""


class InputError(LadingError):
    """A request that does not fit the signature."""


class BodyInvalid(InputError):
    """Not the JSON, CSV or frame that the protocol describes."""


class ValueRefused(InputError):
    """A value that is of another type or would change."""


class ShapeRefused(InputError):
    """Another shape than the signature's."""


class EmptyInput(InputError):
    """No rows."""


class InputMissing(InputError):
    """An input or column that is not there."""


class InputUnknown(InputError):
    """An input or column that the signature does not have."""


class OutputUnknown(InputError):
    """An output that the signature does not have."""


class NotFound(LadingError):
    """What was named is not there."""


class ModelNotFound(NotFound):
    """No model of this name."""


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


class RouteNotFound(NotFound):
    """The server has no such route."""


class MethodRefused(LadingError):
    """The route is there, but not for this method; ``allowed`` names those that are."""

    allowed: tuple[str, ...] = ()


class MediaTypeRefused(LadingError):
    """A content type that the route does not read."""


class NotSupported(LadingError):
    """The protocol has it, this server does not do it."""


class LimitError(LadingError):
    """A limit of the server."""


class BodyTooLarge(LimitError):
    """A request body above ``max_body_bytes``."""


class QueueFull(LimitError):
    """More requests wait than ``max_queue``; try again after ``retry_after_s``."""

    retry_after_s: int = 1


class MemoryShort(LimitError):
    """A model that would need more memory than there is."""


class DeadlineExceeded(LimitError):
    """Not answered within ``deadline_s``."""


class ConflictError(LadingError):
    """Somebody else's state stands in the way."""


class DestinationExists(ConflictError):
    """Something is where the result should go."""


class StillInUse(ConflictError):
    """A version, release or replica still names it."""


class StaleRelease(ConflictError):
    """The release was changed by somebody else meanwhile."""


class UnavailableError(LadingError):
    """May work later."""


class ModelNotReady(UnavailableError):
    """The model is loading, draining or has failed."""


class RegistryUnavailable(UnavailableError):
    """The catalog or the store does not answer."""


class CatalogTooNew(RegistryUnavailable):
    """A newer lading wrote the catalog: waiting does not help, an upgrade does."""


class ServerUnavailable(UnavailableError):
    """The server could not be reached, or is draining."""


class RemoteError(LadingError):
    """A server answered the client with an error; ``status`` is its HTTP status, ``code`` its name."""

    status: int = 0
    code: str = ""


class RunFailed(LadingError):
    """The runtime failed on input that fits the signature."""


def missing_extra(what: str, extra: str, error: ImportError, *, instead: str = "") -> ExtraMissing:
    """Say that `what` needs an extra of lading that is not installed here; `instead` is another way."""
    found = f"no module `{error.name}`" if isinstance(error, ModuleNotFoundError) else str(error)
    hint = f"{pip_install(extra)}, or {instead}" if instead else pip_install(extra)
    return ExtraMissing(what, expected=f"the extra `{extra}`", found=found, hint=hint)


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of lading, as it stands in a sentence."""
    return f"`pip install 'lading[{extra}]'`"


def continued(sentence: str) -> str:
    """Write another library's sentence as the middle of one of ours: ``Expected …`` but ``JSON …``."""
    first, second = sentence[:1], sentence[1:2]
    return first.lower() + sentence[1:] if second.islower() else sentence


def leaves(kind: type[LadingError] = LadingError) -> list[type[LadingError]]:
    """List the classes of the tree that have no subclass, in the order they are written."""
    below = kind.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [kind]
