"""Every error that dae-pacs raises on purpose.

DaePacsError
├── ConfigError             a setting is missing, unknown or wrong
├── InputError              a file, object or request that someone gave us
│   ├── NotDicomError       no DICOM object, or one cut off before its end
│   ├── RequestError        a message of DICOMweb that is broken, or asks for what there is not
│   ├── UnsupportedImageError  well formed, but not ours to denoise: passed over with the reason
│   └── PixelError          its pixels contradict its header, or do not decode
├── NoiseError              the noise of a group of images can't be told from them
├── BundleError             a model bundle is missing, broken, or not what its manifest says
├── ModelError              a network at work gave what no denoised image is
├── SpoolError              the spool or its ledger can't keep what it is given
│   ├── SpoolFullError      no room left
│   ├── LedgerError         SQLite can't read or write the ledger now: locked, damaged, or a failing disk
│   └── TransitionError     a state change that the ledger's table does not allow
├── PeerError               a peer refuses, is down, or breaks the protocol
│   ├── PeerGoneError       its connection ended, or it was silent for too long
│   ├── RejectedError       it rejected the association
│   └── ProtocolError       it sent what PS3.7 or PS3.8 does not allow, or more than we take
├── TooManyTriesError       a wrong password too often: the next try has to wait
├── ServiceError            the node can't start or go on (port in use, worker gone)
│   └── ClusterError        the cluster can't be reached, or has no worker for us; later it may
└── TrainingError           a training run can't start or go on

Each message names the object, what was found, what was expected, and what the reader can do.
"""

import math


class DaePacsError(Exception):
    """Any error that dae-pacs explains in words; the command line prints it without a traceback."""


class ConfigError(DaePacsError):
    """A setting is missing, unknown or wrong."""


class InputError(DaePacsError):
    """A file or object that someone gave us can't be used."""


class NotDicomError(InputError):
    """The bytes are no DICOM object, or end before it does."""


class RequestError(InputError):
    """A message of DICOMweb is broken, or asks for what is not there or not offered (PS3.18)."""


class UnsupportedImageError(InputError):
    """A well-formed object that is not ours to denoise; the message is the reason kept in the ledger."""


class PixelError(InputError):
    """Pixel data that contradict their header or do not decode."""


class NoiseError(DaePacsError):
    """The noise of a group of images can't be estimated from them."""


class BundleError(DaePacsError):
    """A model bundle is missing, broken, or not what its manifest says."""


class ModelError(DaePacsError):
    """A network gave what no denoised image is: mis-shaped, constant, or not finite."""


class SpoolError(DaePacsError):
    """The spool or its ledger can't keep what it is given."""


class SpoolFullError(SpoolError):
    """The disk under the spool has no room left."""


class LedgerError(SpoolError):
    """SQLite itself fails to read or write the ledger; nothing is said about what was asked for."""


class TransitionError(SpoolError):
    """A state change that the ledger's table of transitions does not allow."""


class PeerError(DaePacsError):
    """A DICOM peer refuses, can't be reached, or breaks the protocol."""


class PeerGoneError(PeerError):
    """A peer's connection ended, or the peer was silent for longer than we wait."""


class RejectedError(PeerError):
    """A peer rejected an association (PS3.8 9.3.4)."""

    def __init__(self, message: str, *, is_permanent: bool) -> None:
        """Keep the words, and whether the peer says that asking again is of no use (PS3.8 Table 9-21)."""
        super().__init__(message)
        self.is_permanent = is_permanent


class ProtocolError(PeerError):
    """A peer sent what PS3.7 or PS3.8 does not allow, or more than we take."""

    def __init__(self, message: str, *, source: int = 2, reason: int = 0) -> None:
        """Keep the words, and what the A-ABORT PDU says (PS3.8 Table 9-26).

        Args:
            message: what was found and what was expected, without a value off the wire.
            source: 0 for the service user, 2 for the service provider.
            reason: why the provider aborts: 1 unrecognized PDU, 2 unexpected PDU, 6 invalid parameter value.
        """
        super().__init__(message)
        self.source = source
        self.reason = reason


class TooManyTriesError(DaePacsError):
    """A wrong name or password was said too often; the next try has to wait."""

    def __init__(self, wait_s: float) -> None:
        """Keep how long."""
        super().__init__(
            f"Too many wrong tries. Wait {math.ceil(wait_s)} s; tries before that are not looked at."
        )
        self.wait_s = wait_s


class ServiceError(DaePacsError):
    """The node can't start or can't go on."""


class ClusterError(ServiceError):
    """The cluster can't be reached or has no worker to give: no fault of what was to be done there."""


class TrainingError(DaePacsError):
    """A training run can't start or can't go on."""
