"""What an operator asks of the node in the console, and how the node does it: each act is written down twice.

The ledger keeps who did what to a study, for its story; the audit trail, where there is one, for good.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from dae_pacs.audit.codes import USE_OF_RESTRICTED_FUNCTION
from dae_pacs.audit.events import Person
from dae_pacs.denoise.card import default_strength
from dae_pacs.dimse import scu
from dae_pacs.errors import BundleError, PeerError, SpoolError
from dae_pacs.node.parts import Parts
from dae_pacs.node.peers import address_of
from dae_pacs.resources import bundle_places, find_bundle
from dae_pacs.spool import receipt
from dae_pacs.spool.again import Remade, Wish
from dae_pacs.spool.files import spool_error
from dae_pacs.spool.records import Instance
from dae_pacs.spool.states import InstanceStatus


@dataclass(frozen=True)
class Reprocess:
    """Denoise a study once more, by another model or at another strength."""

    study: str
    model: str
    strength: float | None
    """0..1; None for the model's own."""
    person: Person
    answer: ClassVar = Remade


@dataclass(frozen=True)
class Released:
    """What became of an object that left the quarantine."""

    action: str
    rule: str | None


@dataclass(frozen=True)
class Release:
    """Let an object of the quarantine take the place of the one that stands under its UID."""

    instance: int
    digest: str
    """Of the bytes that the person decided about: another object may have that number by now."""
    person: Person
    answer: ClassVar = Released


@dataclass(frozen=True)
class Delete:
    """Delete an object of the quarantine."""

    instance: int
    digest: str
    """Of the bytes that the person decided about: another object may have that number by now."""
    person: Person
    answer: ClassVar = bool


@dataclass(frozen=True)
class Echo:
    """Ask a destination whether it is there (C-ECHO, PS3.4 A)."""

    peer: str
    person: Person
    calls_others: ClassVar = True
    answer: ClassVar = float
    """Seconds until its answer."""


def answers_of(parts: Parts) -> Mapping[type, Callable[[Any], object]]:  # Any: each takes its own request
    """List the answers to what operators ask."""
    return {
        Reprocess: partial(reprocess, parts),
        Release: partial(release, parts),
        Delete: partial(delete, parts),
        Echo: partial(echo, parts),
    }


def reprocess(parts: Parts, request: Reprocess) -> Remade:
    """Add jobs beside the first ones, and wake the worker.

    Raises:
        BundleError: there is no such model.
        SpoolError: no rule ever denoised the study, its originals are gone, or it has just that already.
    """
    folder = parts.settings.model.folder
    strength = request.strength
    if strength is None:
        strength = default_strength(find_bundle(request.model, folder))
    else:
        find_bundle(request.model, folder)
    remade = parts.ledger.acts.make_again(
        request.study, Wish(request.model, strength), defaults=_defaults(parts), now=time.time()
    )
    if not remade.jobs:
        raise SpoolError(_why_nothing(remade, request.model, strength))
    parts.work.ring()
    words = (
        f"Asked for {request.model} at strength {strength:g}: {remade.jobs} series, {remade.images} image(s)."
    )
    _written(parts, request.person, request.study, words)
    return remade


def _defaults(parts: Parts) -> dict[str, float]:
    found = {}
    for place in bundle_places(parts.settings.model.folder):
        try:
            found[place.name] = default_strength(place.folder)
        except BundleError:
            continue  # a broken bundle of the site; a job that names it says so itself
    return found


def _why_nothing(remade: Remade, model: str, strength: float) -> str:
    if remade.gone:
        return (
            "Its originals are no longer in the spool: retention has deleted them. Send the study again: "
            "it is denoised as the rules say, and then you can ask once more."
        )
    if remade.same:
        return (
            f"The study has a series by {model} at strength {strength:g} already, or gets it. Choose "
            "another model or strength; what failed is tried again by Retry."
        )
    return (
        "No rule has denoised anything of this study, so there is nothing to repeat. Change the rules first."
    )


def release(parts: Parts, request: Release) -> Released:
    """Read the object anew, decide by the rules of today, and put it in its place.

    Raises:
        SpoolError: it is not in quarantine any more, its file can't be read, or the other one is at work.
    """
    instance = _quarantined(parts, request)
    try:
        sealed = receipt.read_old(instance.path)
    except OSError as error:
        raise spool_error(error, "reading an object of the quarantine") from error
    if sealed is None:
        raise SpoolError(
            "The object's file in quarantine is damaged, so it can't be released. Delete it, and have its "
            "sender store it again."
        )
    new, plan = parts.receiver.adopt(sealed)
    target = parts.files.object_path(new.SOPInstanceUID, new.transfer_syntax_uid, digest=new.digest)
    parts.ledger.acts.release(
        instance.id, new=replace(new, received_at=time.time()), plan=plan, target=target
    )
    parts.work.ring()
    parts.results.ring()
    words = "Released an object from quarantine; it took the place of the one that was kept under its UID."
    _written(parts, request.person, instance.StudyInstanceUID, words)
    return Released(plan.action, plan.rule)


def delete(parts: Parts, request: Delete) -> bool:
    """Delete an object of the quarantine, which can't be taken back.

    Raises:
        SpoolError: it is not in quarantine any more, or the disk refuses.
    """
    instance = _quarantined(parts, request)
    parts.ledger.acts.delete(instance.id)
    parts.audit.removed([instance], still_held=[instance.StudyInstanceUID])
    words = "Deleted an object from quarantine."
    _written(parts, request.person, instance.StudyInstanceUID, words)
    return True


def echo(parts: Parts, request: Echo) -> float:
    """Call a destination; nothing changes by it, and nothing is written down.

    Raises:
        PeerError: there is none of that name, or it does not answer.
    """
    settings = parts.settings
    peer = settings.peers.get(request.peer)
    if peer is None:
        raise PeerError(
            f"{request.peer}: the configuration names no such destination. Put it under peers, and restart."
        )
    return scu.echo(address_of(peer, settings.tls), calling_ae=settings.node.ae_title)


def _quarantined(parts: Parts, request: Release | Delete) -> Instance:
    instance = parts.ledger.views.instance(request.instance)
    is_held = instance is not None and instance.status is InstanceStatus.QUARANTINED
    if instance is None or not is_held or instance.digest != request.digest:
        raise SpoolError(
            "That object is not in quarantine (any more): somebody has decided about it. Load the page again."
        )
    return instance


def _written(parts: Parts, person: Person, study: str, words: str) -> None:
    parts.audit.person_did(person, USE_OF_RESTRICTED_FUNCTION, f"Console, study {study}: {words}")
    parts.ledger.acts.note(study, account=person.name, words=words, now=time.time())
