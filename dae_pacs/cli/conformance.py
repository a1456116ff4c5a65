"""Write the conformance statement from the code's own tables: `docs/conformance.md` (PS3.2 annex N)."""

import textwrap
from collections.abc import Iterator, Mapping

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import UID

from dae_pacs import __version__
from dae_pacs.cli import conformance_query, conformance_web
from dae_pacs.cli.conformance_words import (
    ANSWERS,
    CHANGES,
    REPORT_ANSWERS,
    VERDICT_WORDS,
    meaning,
    outcomes,
)
from dae_pacs.cli.markdown import table
from dae_pacs.config.model import NodeSettings, Peer
from dae_pacs.config.security import TLS_PORT
from dae_pacs.config.sending import DeliverySettings
from dae_pacs.dimse import commitment, contexts
from dae_pacs.dimse.tls import CIPHER_SUITES
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dae_pacs.image.codecs import COMPRESSED, NATIVE
from dae_pacs.image.compress import SYNTAXES
from dae_pacs.image.provenance import NOISE_REDUCTION_URN
from dae_pacs.image.removed import REMOVED_CHANGES
from dae_pacs.image.rules import HEADER_CHANGES, KEPT_PRIVATE, Change
from dae_pacs.node.commitment import VERDICTS

_HEAD = f"""# DICOM Conformance Statement of dae-pacs {__version__}

<!-- Generated from the code's own tables by `dae-pacs config conformance`; a test fails when stale. -->

In the structure of PS3.2 annex N. What is not said to be supported is not supported.

## 1 Overview

dae-pacs is a node beside a PACS. It receives studies by C-STORE, keeps them, makes a denoised series of
those images that a rule of the site names, and sends the derived series by C-STORE. Originals are never
changed. It queries and retrieves as a user; what it holds it offers over DICOMweb alone (section 4.9). It
has no print and no worklist.

### 1.1 Network services

| Service | SOP classes | User (SCU) | Provider (SCP) |
|---|---|---|---|
| Verification | 1 | yes | yes |
| Storage | {len(contexts.STORAGE_SOP_CLASSES)} (annex 9.1) | yes | yes |
| Storage Commitment Push Model | 1 | yes, where a peer's `commitment` asks for it | no |
| Query/Retrieve, Study Root and Patient Root: FIND, MOVE, GET | {len(conformance_query.MODELS)} | yes | no |

### 1.2 Media services

None.

## 2 Introduction

For those who connect dae-pacs to modalities and archives. DICOM's own terms are used as in PS3.2 to
PS3.8, and attributes stand under their keywords of PS3.6. Settings in `code font` are those of [the
configuration](configuration.md).

## 3 Implementation model

### 3.1 Application data flow

```text
modality or PACS -- C-STORE --> storage SCP, spool, denoiser, spool, storage SCU -- C-STORE --> PACS
```

### 3.2 Functional definition of the application entities

One application entity, by default `{NodeSettings().ae_title}`, in two roles:

- The **storage SCP** keeps each object byte for byte in the transfer syntax in which it came. It answers
  success only when the object is on stable storage (PS3.4 section B.2.3, level 2: nothing is discarded or
  coerced).
- The **storage SCU** sends derived objects, and originals where a rule says so, to the rule's
  destinations, until each has answered. A repeat is the same object under the same UID. Where
  `peers.NAME.commitment` asks for it, that peer is then asked to commit itself to what it got
  (section 4.7).

### 3.3 Sequencing of real-world activities

A series is denoised when its expected number of images is there, or when its associations are closed and
it has been quiet for `node.quiet_s`. Images that come later join the same derived series. Objects that
dae-pacs made itself are recognised by their Contributing Equipment and are neither denoised nor
forwarded."""


def conformance() -> str:
    """Give the statement as Markdown."""
    parts = [f"{_HEAD}\n", *_entity(), f"{_network_and_configuration()}\n", "## 9 Annexes\n", *_annexes()]
    return "\n".join(parts)


def _entity() -> Iterator[str]:
    node, peer = NodeSettings(), Peer(ae_title="PEER", host="localhost", port=104)
    yield "## 4 Application entity\n\n### 4.1 Association policies\n"
    yield from table(
        ("Policy", "Accepting (SCP)", "Initiating (SCU)"),
        [
            ("Application context name", "1.2.840.10008.3.1.1.1", "1.2.840.10008.3.1.1.1"),
            (
                "Associations at a time",
                (
                    f"{node.max_associations} (`node.max_associations`), "
                    f"{node.max_associations_per_address} from one address "
                    "(`node.max_associations_per_address`); one more is rejected: 2, 3, 2"
                ),
                f"{peer.associations} a peer (`peers.NAME.associations`)",
            ),
            ("Asynchronous operations", "none: one at a time", "none: one at a time"),
            ("Implementation Class UID", IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME, IMPLEMENTATION_VERSION_NAME),
            (
                "Maximum PDU size asked for",
                f"{node.max_pdu_bytes} bytes (`node.max_pdu_bytes`)",
                "131072 bytes",
            ),
            (
                "Called AE title",
                "`node.ae_title` and `node.also_called`; any other is rejected: 1, 1, 7",
                "`peers.NAME.ae_title`",
            ),
            (
                "Calling AE title and address",
                (
                    "those of `peers` and `senders`, and the node itself on its own machine; another title, "
                    "or a known title at another address, is rejected: 1, 1, 3. With "
                    '`node.accept = "anyone"` any titles and addresses'
                ),
                "`node.ae_title`",
            ),
            (
                "Silence after which it ends",
                (
                    f"{node.network_timeout_s:g} s, {node.dimse_timeout_s:g} s within a message; "
                    f"{node.association_timeout_s:g} s for the association request, "
                    f"{node.pdu_timeout_s:g} s for a PDU, {node.object_timeout_s:g} s for an object"
                ),
                f"{peer.connect_timeout_s:g} s for the connection, {peer.dimse_timeout_s:g} s for an answer",
            ),
        ],
    )
    yield "### 4.2 Accepted presentation contexts\n"
    yield _paragraph(
        "Verification in explicit and implicit VR little endian. Each storage SOP class of annex 9.1 "
        "in every transfer syntax of the table; of several that are proposed in one context, the "
        "first in the table is accepted."
    )
    yield from table(("Order", "Transfer syntax", "UID", "Denoised"), list(_syntaxes()))
    yield "### 4.3 Proposed presentation contexts\n"
    yield _paragraph(
        "One context for each SOP class and transfer syntax of the objects to be sent, at most 128 on "
        "an association. Derived objects are stored and proposed as the rule's `compression` says. For "
        "objects that are compressed without loss, explicit VR little endian and implicit VR little endian "
        "are proposed in contexts of their own, for those in explicit VR little endian implicit VR little "
        "endian; they are used in this order where the object's own is not accepted: no value changes. All "
        "else goes out in the transfer syntax in which it came, or not at all."
    )
    yield from table(
        ("`compression`", "Transfer syntax", "UID"),
        [(f"`{name}`", UID(syntax).name, syntax) for name, syntax in SYNTAXES.items()],
    )
    yield "Verification (`dae-pacs echo`) is proposed in implicit VR little endian.\n"
    yield "### 4.4 Extended negotiation\n"
    yield _paragraph(
        "Role selection, for Storage Commitment alone: the peer that reports proposes itself as SCP. No SOP "
        "class extended or common extended negotiation, no user identity, no asynchronous operations "
        "window. Sub-items of these kinds are read and not answered."
    )
    yield from _status_tables()


def _syntaxes() -> Iterator[tuple[str, ...]]:
    for order, syntax in enumerate(contexts.TRANSFER_SYNTAXES, start=1):
        is_decoded = syntax in NATIVE or syntax in COMPRESSED
        words = "yes" if is_decoded else "no: kept, forwarded where a rule says so"
        yield str(order), UID(syntax).name, syntax, words


def _status_tables() -> Iterator[str]:
    yield "### 4.5 Status codes that the SCP answers to a C-STORE\n"
    rows = [(f"{status:04X}", meaning(status), words) for status, words in sorted(ANSWERS.items())]
    yield from table(("Status", "Meaning", "When"), rows)
    yield _paragraph(
        "A C-ECHO is answered with 0000, every operation but these and the report of section 4.7 with 0211 "
        "(unrecognized operation); a C-CANCEL has nothing to cancel and goes unanswered. What PS3.8 does "
        "not allow ends the association with an A-ABORT: source 2, reason 1 for a PDU of unknown type, 2 for "
        "one that has no place there, 6 for a value that is not valid, such as a PDU longer than asked for."
    )
    yield "### 4.6 What the SCU does on a status of a C-STORE response\n"
    yield from table(("Status", "Meaning", "Outcome"), list(outcomes()))
    yield _paragraph(
        "No answer, an aborted association and a peer that can't be reached: sent again, as above. A "
        "presentation context that is not accepted: given up and listed, after the attempt of section "
        "4.3."
    )
    yield from _commitment()


def _commitment() -> Iterator[str]:
    yield "### 4.7 Storage Commitment\n"
    settings = DeliverySettings()
    yield _paragraph(
        "An N-ACTION (Action Type 1) for what a destination took, once a series has gone out, for at most "
        f"{settings.commitment_batch} objects (`delivery.commitment_batch`), each time under a new "
        "Transaction UID. The N-EVENT-REPORT is taken on the same association, for "
        f"{settings.commitment_wait_s:g} s (`delivery.commitment_wait_s`), or at any later time on an "
        "association that the peer opens, with role selection or without. Without a report within "
        f"{settings.commitment_report_s:g} s (`delivery.commitment_report_s`) the request is made anew; a "
        "late report still counts where it says that an object is kept. Until then the object is owed, and "
        "retention leaves it alone."
    )
    rows = [
        (f"{reason:04X}", commitment.describe(reason)[7:-1], VERDICT_WORDS[verdict.name])
        for reason, verdict in sorted(VERDICTS.items())
    ]
    yield from table(
        ("Failure Reason", "Meaning", "What follows"), [*rows, ("any other", "", VERDICT_WORDS["GIVE_UP"])]
    )
    yield from table(
        ("Status", "Answered to an N-EVENT-REPORT"),
        [(f"{status:04X}", words) for status, words in sorted(REPORT_ANSWERS.items())],
    )
    yield conformance_query.WORDS
    yield from table(("Information model", "UID"), conformance_query.classes())
    yield from table(("Level", "Keys that are asked for"), conformance_query.keys())
    yield from table(("Status", "Meaning", "What follows"), conformance_query.outcomes())
    yield conformance_web.WORDS
    yield from table(("Failure Reason", "Meaning"), list(conformance_web.reasons()))


def _network_and_configuration() -> str:
    node = NodeSettings()
    suites = ", ".join(CIPHER_SUITES)
    return f"""## 5 Network and configuration

### 5.1 Network interfaces

TCP/IP, IPv4 and IPv6 as the operating system offers them; DICOM upper layer over TCP (PS3.8). By default
the node listens on `{node.bind}`, port `{node.port}`.

### 5.2 Configuration

AE titles, addresses, ports, time-outs, PDU size and rules are settings of the site, all listed in
[configuration.md](configuration.md). Peers that are sent to must be configured (`peers`), and those that
send, too (`peers` or `senders`), unless `node.accept` opens the node to anyone.

## 6 Media interchange

None. `dae-pacs denoise` and `dae-pacs send` read Part 10 files (PS3.10), and write them without a DICOMDIR.

## 7 Character sets

Every character set of PS3.3 section C.12.1.1.2, with and without code extensions: texts of the source are
kept byte for byte, and Specific Character Set stays. What dae-pacs adds is written in the object's
character set, or in ASCII where that can't hold it.

## 8 Security

### 8.1 Secure transport connection

The BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 section B.12), as acceptor and as
requestor, where the site configures it (`tls`, `peers.NAME.tls`); without it, plain TCP.

- TLS 1.2 and 1.3 (`tls.minimum`), nothing older: there is no downgrade, and no fall-back to plain text.
- Cipher suites of TLS 1.2: {suites}. Of TLS 1.3: OpenSSL's.
- Keys of RSA from 2048 bits, ECDHE for every key exchange; no compression, no renegotiation, no tickets.
- As acceptor on `tls.port` (the profile recommends {TLS_PORT}), in place of `node.port`, or beside it
  (`tls.also_plain`). Callers must show a certificate that `tls.trust` believes, unless `tls.clients` says
  otherwise.
- As requestor the peer is verified before anything is said: by who signed its certificate and by its name, or
  by its fingerprint.
- Keys and certificates are PEM files of the site's, read again when they are replaced. Revocation is not
  looked up. ALPN says `dicom`.

A failed integrity check ends the connection: an A-P-ABORT to both sides. The Modified profile (B.13) is not
claimed: OpenSSL has none of its Camellia suites.

### 8.2 Application level

Callers are held against a list of AE titles and addresses, see section 4.1. No user identity negotiation, no
signatures made or checked; digital signatures of a source are dropped from what is derived of it. By default
the node listens on this machine alone (`node.bind`). Logs carry no patient data.

### 8.3 Audit trail

Audit Trail Message Format Profile (PS3.15 A.5), where `audit.file` or `audit.syslog` is set: Application
Activity, Query, Begin Transferring DICOM Instances, DICOM Instances Transferred, DICOM Instances Accessed
(D, R), DICOM Study Deleted, Security Alert; [audit.md](audit.md) says when, and what each names. Audit Trail
Message Transmission Profiles SYSLOG-TLS (A.6) and SYSLOG-UDP (A.7), by `audit.syslog` and
`audit.syslog_transport`: no structured data, MSGID `DICOM+RFC3881`, facility 10, severity 5; the
receiver's certificate is always verified. The schema is not extended; a message has fewer than 32768
octets. The repository is found by configuration, not by LDAP."""


def _annexes() -> Iterator[str]:
    yield "### 9.1 Storage SOP classes\n"
    yield _paragraph(
        "All are kept and may be forwarded. Grey images of them are denoised; reports, presentation "
        "states, waveforms, segmentations, radiotherapy objects, parametric maps, documents, colour "
        "and one-bit images are passed over."
    )
    classes = [(contexts.class_name(uid), uid) for uid in contexts.STORAGE_SOP_CLASSES]
    yield from table(("SOP class", "UID"), sorted(classes, key=lambda row: _numbers(row[1])))
    yield "### 9.2 Attributes of derived objects\n"
    yield _paragraph(
        "A derived object has its source's SOP class. What no table here names is the source's, byte "
        "for byte: patient, study, frame of reference, geometry, windows, acquisition. `dae-pacs "
        "validate` checks it."
    )
    yield from _attributes(HEADER_CHANGES)
    yield _paragraph(
        "In functional groups, Frame Type value 1 becomes DERIVED, and an item of Derivation Image "
        "Sequence is added. Overlays in unused bits of the pixel cells get Overlay Data of their own. "
        "In items, digital signatures are dropped."
    )
    yield _paragraph(
        "A series of what was removed (`removed`) differs in these, too. Its Derivation Code Sequence "
        "has (113062, DCM, Pixel by pixel subtraction). Where Rescale Intercept may not move, the "
        "middle of the stored range is zero, and Derivation Description says so."
    )
    yield from _attributes(REMOVED_CHANGES)
    yield "### 9.3 Codes and private elements\n"
    yield _paragraph(
        "No private SOP class, transfer syntax or coding scheme is made. One concept has a URN, since "
        "CID 7203 has no code for it:"
    )
    yield from table(
        ("URN Code Value", "Code Meaning"),
        [(f"`{NOISE_REDUCTION_URN}`", "Noise reduction by a trained denoiser")],
    )
    yield "Private elements are not written, and the source's are dropped, except:\n"
    rows = [(creator, f"({group:04X},xx{element:02X})") for creator, group, element in sorted(KEPT_PRIVATE)]
    yield from table(("Private creator", "Element kept"), rows)


def _attributes(changes: Mapping[str, Change]) -> Iterator[str]:
    rows = []
    for keyword in sorted(changes, key=lambda name: tag_for_keyword(name) or 0):
        tag = Tag(keyword)
        words = CHANGES.get(keyword, "absent: dropped where the source has it")
        if tag.group == 0x7FE0:
            words = (
                "the derived pixels, in the source's element and type" if keyword[-5:] == "lData" else words
            )
        rows.append((dictionary_description(keyword), f"({tag.group:04X},{tag.element:04X})", words))
    yield from table(("Attribute", "Tag", "In a derived object"), rows)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 116, break_long_words=False, break_on_hyphens=False) + "\n"


def _numbers(uid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in uid.split("."))
