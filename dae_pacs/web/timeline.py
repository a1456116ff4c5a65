"""Tell a study's story as a time line: what happened, in words, and what to do where something went wrong."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from dae_pacs.spool.pulls import Pull
from dae_pacs.spool.records import Job
from dae_pacs.spool.states import (
    DeliveryStatus,
    ImageStatus,
    InstanceStatus,
    JobStatus,
    Origin,
    PullStatus,
)
from dae_pacs.spool.story import Images, Objects, Sent, Story
from dae_pacs.spool.words import duration

Tone = Literal["", "ok", "busy", "warn", "bad"]

_RETRY: Final = "Retry does it once more."
_ARRIVAL_S: Final = 300.0
"""Objects of one series that came in as many seconds are told of as one arrival."""


@dataclass(frozen=True)
class Event:
    """One entry of the time line."""

    at: float
    what: str
    """asked, received, job, sent, quarantine, act: which sign stands beside it."""
    title: str
    lines: tuple[str, ...] = ()
    tone: Tone = ""
    to_do: str = ""
    """What a person can do about it; "" where nothing needs to be done."""
    then: float | None = None
    """When something happens next."""
    is_open: bool = False
    """Not over yet: stands at the end."""
    example: int | None = None
    """An object of it, by whose header the rules can be asked again."""


def events(story: Story) -> list[Event]:
    """Tell everything, the first thing first, what is still open last."""
    told = [
        *requests(story.pulls),
        *_arrivals(story.objects),
        *_jobs(story),
        *_deliveries(story),
        *_acts(story),
    ]
    return sorted(told, key=lambda event: (event.is_open, event.at))


def requests(pulls: Sequence[Pull]) -> Iterator[Event]:
    """Tell which series a peer was asked for, by whom and why."""

    def alike(pull: Pull) -> tuple[str, ...]:
        return pull.rule, pull.peer, pull.reason, pull.status, pull.error or ""

    for _, found in groupby(sorted(pulls, key=alike), key=alike):
        group = list(found)
        first, count = group[0], len(group)
        who = f"Pull rule “{first.rule}” asked" if first.rule else "A person asked"
        title = f"{who} {first.peer} for {count} series: {first.reason}"
        came = sum(pull.arrived or 0 for pull in group)
        tried = f"{_objects(came)} here afterwards." if any(pull.attempts for pull in group) else ""
        lines = tuple(words for words in (tried, first.error) if words)
        is_open = first.status is PullStatus.WAITING
        then = max(pull.next_try_at for pull in group) if is_open else None
        if first.status is PullStatus.FAILED:
            to_do = "Fetch it by hand, which says more: dae-pacs fetch."
            yield Event(first.asked_at, "asked", title, lines, tone="bad", to_do=to_do)
        else:
            tone: Tone = "busy" if is_open else "ok"
            yield Event(first.asked_at, "asked", title, lines, tone=tone, then=then, is_open=is_open)


def _arrivals(objects: Sequence[Objects]) -> Iterator[Event]:
    received = [
        group
        for group in objects
        if group.origin is Origin.RECEIVED and group.status is not InstanceStatus.QUARANTINED
    ]

    def alike(group: Objects) -> tuple[str, ...]:
        return (
            group.calling_ae,
            group.address,
            f"{group.series_id}",
            group.action,
            group.rule or "",
            group.reason or "",
            group.status,
        )

    for _, found in groupby(sorted(received, key=alike), key=alike):
        yield from _merged(sorted(found, key=lambda group: group.first_at))


def _merged(groups: Sequence[Objects]) -> Iterator[Event]:
    """Tell of associations that brought a series in one go as one arrival."""
    batch: list[Objects] = []
    for group in groups:
        if batch and group.first_at - batch[-1].last_at > _ARRIVAL_S:
            yield _arrival(batch)
            batch = []
        batch.append(group)
    if batch:
        yield _arrival(batch)


def _arrival(groups: Sequence[Objects]) -> Event:
    first, count = groups[0], sum(group.count for group in groups)
    took_s = max(group.last_at for group in groups) - first.first_at
    size_mb = sum(group.size_bytes for group in groups) / 1e6
    what = _named(first)
    lines = [f"{size_mb:.1f} MB within {duration(max(took_s, 1))}."]
    if first.action == "own":
        title = f"{_objects(count)} of our own came back from {_sender(first)}: {what}"
        return Event(first.first_at, "own", title, ("Recognised as our own results: nothing is done.",))
    tone, to_do = "", ""
    rule = f'Rule "{first.rule}"' if first.rule else "No rule matches"
    match first.action:
        case "denoise":
            lines.append(f"{rule}: to be denoised.")
        case "pass_over":
            lines.append(f"{rule} would denoise it; passed over: {first.reason}")
            tone = "warn"
        case "forward":
            lines.append(f"{rule}: forwarded as it is.")
        case _:
            lines.append(f"{rule}: kept in the spool, nothing is delivered.")
    if first.status is InstanceStatus.REMOVED:
        lines.append("The files were deleted since, when nothing was owed any more.")
    if first.status is InstanceStatus.MISSING:
        tone = "bad"
        lines.append("The files are missing from the spool.")
        to_do = "Have the sender store the study again: what is missing is taken, and everything goes on."
    title = f"Received {_objects(count)} from {_sender(first)}: {what}"
    return Event(
        first.first_at, "received", title, tuple(lines), tone=_tone(tone), to_do=to_do, example=first.example
    )


def _tone(tone: str) -> Tone:
    return "warn" if tone == "warn" else "bad" if tone == "bad" else ""


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _named(group: Objects) -> str:
    number = "" if group.SeriesNumber is None else f" {group.SeriesNumber}"
    return f"{group.Modality} series{number} “{group.SeriesDescription or 'without a description'}”"


def _sender(group: Objects) -> str:
    return f"{group.calling_ae or 'somebody'} ({group.address or 'address not known'})"


def _jobs(story: Story) -> Iterator[Event]:
    names = {group.SeriesInstanceUID: _named(group) for group in reversed(story.objects)}
    for job in story.jobs:
        images = [one for one in story.images if one.job_id == job.id]
        yield _job(job, images, names.get(job.SeriesInstanceUID, "a series"))


def _job(job: Job, images: Iterable[Images], name: str) -> Event:
    strength = "its own strength" if job.strength is None else f"strength {job.strength:g}"
    shown = "what was removed" if job.kind == "removed" else "denoised"
    done = sum(one.count for one in images if one.status is ImageStatus.DERIVED)
    lines = [f"{job.model} at {strength}, for {', '.join(job.destinations) or 'no destination'}."]
    rejected = [one for one in images if one.status is ImageStatus.REJECTED]
    lines += [f"{_images(one.count)} could not be denoised: {one.reason}" for one in rejected]
    title = f"{name}: {shown}"
    match job.status:
        case JobStatus.COLLECTING:
            expected = f" of {job.expected_count}" if job.expected_count else ""
            title = f"{name}: {job.image_count}{expected} images so far, more may come"
            return Event(job.last_image_at, "job", title, tuple(lines), tone="busy", is_open=True)
        case JobStatus.READY:
            title = f"{name}: {_images(job.image_count)} waiting for the worker"
            lines += [f"Tried {job.attempts} times; the last time: {job.reason}"] if job.reason else []
            return Event(job.last_image_at, "job", title, tuple(lines), tone="busy", is_open=True)
        case JobStatus.RUNNING:
            title = f"{name}: being denoised, {done} of {_images(job.image_count)}"
            return Event(job.claimed_at or 0.0, "job", title, tuple(lines), tone="busy", is_open=True)
        case JobStatus.FAILED:
            title = f"{name}: could not be denoised"
            lines.append(f"{job.reason or 'No reason is known.'}")
            to_do = f"{_RETRY} If it fails for the same reason, the node's log around that time has more."
            at = job.finished_at or job.created_at
            return Event(at, "job", title, tuple(lines), tone="bad", to_do=to_do)
    stages = [f"{stage} {seconds:.2f} s" for stage, seconds in job.stages.items() if stage != "total"]
    total = [f"{job.finished_at - job.claimed_at:.1f} s in all"] if job.finished_at and job.claimed_at else []
    lines += [", ".join([*stages, *total]) + "."] if stages or total else []
    tone: Tone = "warn" if rejected else "ok"
    to_do = f"{_RETRY} Most such images fail again for the same reason." if rejected else ""
    title = f"{title}, {_images(done)}"
    return Event(job.finished_at or job.created_at, "job", title, tuple(lines), tone=tone, to_do=to_do)


def _deliveries(story: Story) -> Iterator[Event]:
    groups = {(group.series_id, group.origin): group for group in story.objects}
    for sent in story.sent:
        group = groups.get((sent.series_id, sent.origin))
        yield _delivery(sent, _what(sent, group))
    held = story.quarantined
    if held:
        title = f"{_objects(len(held))} in quarantine"
        lines = ("Other bytes under a SOP Instance UID that was already kept. The first stays; see below.",)
        at = min(one.received_at for one in held)
        to_do = "Compare the two, then release or delete what is in quarantine."
        yield Event(at, "quarantine", title, lines, tone="warn", to_do=to_do)


def _what(sent: Sent, group: Objects | None) -> str:
    kind = "derived" if sent.origin is Origin.DERIVED else "original"
    name = f" of “{group.SeriesDescription}”" if group is not None and group.SeriesDescription else ""
    return f"{sent.count} {kind} object{'' if sent.count == 1 else 's'}{name}"


def _delivery(sent: Sent, what: str) -> Event:
    tries = "" if sent.tries < 2 else f" after {sent.tries} tries"
    warned = (f"With a warning: {sent.warning}",) if sent.warning else ()
    match sent.status:
        case DeliveryStatus.DELIVERED:
            lines = [*warned]
            if sent.committed:
                lines.append(f"{sent.destination} has committed itself to keep {_objects(sent.committed)}.")
            title = f"{sent.destination} has {what}{tries}"
            return Event(sent.delivered_at or sent.created_at, "sent", title, tuple(lines), tone="ok")
        case DeliveryStatus.UNCOMMITTED:
            title = f"{sent.destination} took {what}, and is asked to commit itself to keep them"
            at = sent.delivered_at or sent.created_at
            return Event(at, "sent", title, warned, tone="busy", is_open=True)
        case DeliveryStatus.SENDING:
            title = f"{what} on the way to {sent.destination}"
            return Event(sent.created_at, "sent", title, tone="busy", is_open=True)
        case DeliveryStatus.WAITING:
            tried = (
                "" if not sent.tries else "Tried once: " if sent.tries == 1 else f"Tried {sent.tries} times: "
            )
            lines = [f"{tried}{sent.error}"] if sent.error else []
            title = f"{what} waiting for {sent.destination}"
            tone: Tone = "warn" if sent.error else "busy"
            return Event(
                sent.created_at,
                "sent",
                title,
                tuple(lines),
                tone=tone,
                then=sent.next_try_at,
                is_open=True,
            )
        case DeliveryStatus.DEAD:
            title = f"{sent.destination} did not get {what}: given up{tries}"
            to_do = f"See to it at {sent.destination}, by what it said. {_RETRY}"
            return Event(sent.next_try_at, "sent", title, (sent.error,), tone="bad", to_do=to_do)
        case DeliveryStatus.DROPPED:
            title = f"{sent.destination} need not have {what}: a person dropped it"
            return Event(sent.created_at, "sent", title)


def _acts(story: Story) -> Iterator[Event]:
    for act in story.acts:
        yield Event(act.at, "act", f"{act.account} at the console", (act.words,))
