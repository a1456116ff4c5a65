"""Who answers what the console asks: a function of the node's parts for each request of `node.asking`."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dae_pacs import __version__
from dae_pacs.audit.codes import (
    SECURITY_ROLES_CHANGED,
    USE_OF_RESTRICTED_FUNCTION,
    USER_ATTRIBUTES_CHANGED,
)
from dae_pacs.node import acting, viewing
from dae_pacs.node.asking import (
    About,
    AccountsChanged,
    Authenticated,
    ConsoleEnded,
    Figures,
    Retry,
    WhoAreYou,
)
from dae_pacs.node.figures import NodeFigures, figures_of
from dae_pacs.node.parts import Parts
from dae_pacs.node.preview import Preview
from dae_pacs.node.uploads import EndUpload, KeepObject
from dae_pacs.spool.records import Retried

Answer = Callable[[Any], object]  # Any: each takes the request that it is listed under


def answers_of(parts: Parts) -> Mapping[type, Answer]:
    """List the answers of a node."""
    return {
        WhoAreYou: partial(about, parts),
        Figures: partial(figures, parts),
        Retry: partial(retry, parts),
        **acting.answers_of(parts),
        **viewing.answers_of(parts.audit),
        KeepObject: parts.uploads.keep,
        EndUpload: parts.uploads.end,
        ConsoleEnded: lambda _: parts.uploads.end_all(),
        Authenticated: partial(authenticated, parts),
        AccountsChanged: partial(accounts_changed, parts),
        Preview: parts.previews.answer,
    }


def about(parts: Parts, _request: WhoAreYou) -> About:
    """Say what the node is."""
    return About(
        ae_title=parts.settings.node.ae_title,
        port=parts.scp.port,
        version=__version__,
        started_at=parts.started_at,
    )


def figures(parts: Parts, _request: Figures) -> NodeFigures:
    """Say how the node is, in numbers.

    Raises:
        SpoolError: the spool's disk can't be asked for its room.
    """
    return figures_of(parts)


def retry(parts: Parts, request: Retry) -> Retried:
    """Requeue what failed, wake those who do it, and write down who asked.

    Raises:
        SpoolError: the ledger has no such study, or can't be written.
    """
    if request.study is not None:
        parts.ledger.study_story(request.study)  # refuses, in words, a study that it does not have
    retried = parts.ledger.retry(study=request.study, now=time.time())
    hurried = parts.ledger.acts.hurry(request.study, now=time.time()) if request.study is not None else 0
    hurried -= retried.deliveries  # which wait by now, too
    parts.work.ring()
    parts.results.ring()
    words = (
        f"Requeued {retried.jobs} job(s) with {retried.images} image(s), {retried.deliveries} deliveries"
        f"{f'; {hurried} more that waited are tried at once' if hurried > 0 else ''}."
    )
    scope = f"study {request.study}" if request.study else "all studies"
    parts.audit.person_did(request.person, USE_OF_RESTRICTED_FUNCTION, f"Console, {scope}: {words}")
    if request.study is not None:
        parts.ledger.acts.note(request.study, account=request.person.name, words=words, now=time.time())
    return retried


def authenticated(parts: Parts, request: Authenticated) -> bool:
    """Write down that somebody logged in or out, or failed to."""
    parts.audit.authenticated(request.person, request.kind, request.failure)
    return True


def accounts_changed(parts: Parts, request: AccountsChanged) -> bool:
    """Write down that somebody changed accounts."""
    kind = SECURITY_ROLES_CHANGED if request.are_roles else USER_ATTRIBUTES_CHANGED
    parts.audit.person_did(request.person, kind, request.what)
    return True
