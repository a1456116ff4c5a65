"""Pages about accounts: one's own, and, for administrators, all."""

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.errors import DaePacsError, InputError
from dae_pacs.node.asking import AccountsChanged
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.doorman import cookie_name
from dae_pacs.web.gate import Try
from dae_pacs.web.login import set_cookie
from dae_pacs.web.pages import render
from dae_pacs.web.passwords import LONGEST, SHORTEST
from dae_pacs.web.role import ROLE_NAMES, Role
from dae_pacs.web.roles import form_of, needs, visitor_of


@needs(Role.VIEWER)
def own(request: Request) -> Response:
    """Show one's own account."""
    return _own_page(request)


@needs(Role.VIEWER)
def change_password(request: Request) -> Response:
    """Change one's own password; every other session of the account ends."""
    context, visitor, form = context_of(request), visitor_of(request), form_of(request)
    current, new, again = (str(form.get(field, "")) for field in ("current", "new", "again"))
    try:
        if new != again:
            raise InputError("The two new passwords differ.")
        if context.gate.enter(Try(visitor.name, current, visitor.address)) is None:
            raise InputError("The current password is wrong.")
        context.accounts.set_password(visitor.name, new)
    except DaePacsError as error:
        return _own_page(request, wrong=str(error), status=400)
    context.sessions.end_all(visitor.name)
    _told(request, f"{visitor.name} changed their own password")
    account = context.accounts.find(visitor.name)
    response = RedirectResponse("/account?done=password", status_code=303)
    if account is not None:
        token = context.sessions.begin(
            account.name, account.role, stamp=account.stamp, address=visitor.address
        )
        set_cookie(response, context, token)
    return response


@needs(Role.VIEWER)
def leave_everywhere(request: Request) -> Response:
    """End every session of one's own, also this one."""
    context, visitor = context_of(request), visitor_of(request)
    context.sessions.end_all(visitor.name)
    _told(request, f"{visitor.name} logged out everywhere")
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(
        cookie_name(context.settings), secure=context.settings.web.is_secure, httponly=True
    )
    return response


@needs(Role.ADMINISTRATOR)
def everybody(request: Request) -> Response:
    """Show all accounts."""
    return _accounts_page(request)


@needs(Role.ADMINISTRATOR)
def add(request: Request) -> Response:
    """Make an account."""
    form = form_of(request)
    name, role = str(form.get("name", "")), str(form.get("role", ""))

    def do(context: Context) -> str:
        made = context.accounts.add(name, Role.of(role), str(form.get("password", "")))
        return f"account {made.name} was made, with the role {made.role.label}"

    return _changed(request, do, are_roles=True)


@needs(Role.ADMINISTRATOR)
def remove(request: Request) -> Response:
    """Remove an account."""
    name = _name(request)

    def do(context: Context) -> str:
        context.accounts.remove(name)
        context.sessions.end_all(name)
        return f"account {name} was removed"

    return _changed(request, do)


@needs(Role.ADMINISTRATOR)
def set_role(request: Request) -> Response:
    """Give an account another role."""
    name, role = _name(request), str(form_of(request).get("role", ""))

    def do(context: Context) -> str:
        context.accounts.set_role(name, Role.of(role))
        return f"account {name} has the role {role} now"

    return _changed(request, do, are_roles=True)


@needs(Role.ADMINISTRATOR)
def set_password(request: Request) -> Response:
    """Give an account another password."""
    name, password = _name(request), str(form_of(request).get("password", ""))

    def do(context: Context) -> str:
        context.accounts.set_password(name, password)
        return f"account {name} has another password"

    return _changed(request, do)


@needs(Role.ADMINISTRATOR)
def end_sessions(request: Request) -> Response:
    """Log somebody out everywhere."""
    name = _name(request)

    def do(context: Context) -> str:
        context.accounts.end_sessions(name)
        context.sessions.end_all(name)
        return f"account {name} was logged out everywhere"

    return _changed(request, do)


def _changed(request: Request, do: Callable[[Context], str], *, are_roles: bool = False) -> Response:
    try:
        what = do(context_of(request))
    except DaePacsError as error:
        return _accounts_page(request, wrong=str(error), status=400)
    _told(request, what, are_roles=are_roles)
    return RedirectResponse("/accounts", status_code=303)


def _told(request: Request, what: str, *, are_roles: bool = False) -> None:
    event = AccountsChanged(visitor_of(request).person, f"In the console: {what}", are_roles)
    context_of(request).gate.tell(event)


def _name(request: Request) -> str:
    return str(request.path_params["name"]).lower()


def _own_page(request: Request, *, wrong: str = "", status: int = 200) -> Response:
    context, visitor = context_of(request), visitor_of(request)
    return render(
        request,
        "account.html.j2",
        status=status,
        wrong=wrong,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        account=context.accounts.find(visitor.name) if visitor.is_of_account else None,
        sessions=context.sessions.count(visitor.name),
        shortest=SHORTEST,
        longest=LONGEST,
    )


def _accounts_page(request: Request, *, wrong: str = "", status: int = 200) -> Response:
    context = context_of(request)
    accounts = context.accounts.all()
    return render(
        request,
        "accounts.html.j2",
        status=status,
        wrong=wrong,
        accounts=accounts,
        sessions={account.name: context.sessions.count(account.name) for account in accounts},
        roles=ROLE_NAMES,
        shortest=SHORTEST,
        longest=LONGEST,
        provider=context.settings.oidc.issuer,
        mapping=context.settings.oidc.roles,
    )


_DONE: Final = {"password": "Your password was changed; other sessions of yours are over."}

ROUTES: list[BaseRoute] = [
    Route("/account", own, methods=["GET"]),
    Route("/account/password", change_password, methods=["POST"]),
    Route("/account/sessions/end", leave_everywhere, methods=["POST"]),
    Route("/accounts", everybody, methods=["GET"]),
    Route("/accounts", add, methods=["POST"]),
    Route("/accounts/{name}/remove", remove, methods=["POST"]),
    Route("/accounts/{name}/role", set_role, methods=["POST"]),
    Route("/accounts/{name}/password", set_password, methods=["POST"]),
    Route("/accounts/{name}/sessions/end", end_sessions, methods=["POST"]),
]
