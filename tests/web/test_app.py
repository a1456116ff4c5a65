"""Every route says who may use it, and strangers see nothing."""

import httpx
from starlette.routing import Mount, Route

from dae_pacs.web.app import routes
from dae_pacs.web.role import Role
from dae_pacs.web.roles import declared_role

PUBLIC = {
    "/static/{path:path}",
    "/login",
    "/login/provider",
    "/login/callback",
    "/healthz",
    "/readyz",
    "/readyz/{part}",
    "/metrics",
}
"""What anybody may reach: nothing of these shows a name or a pixel."""


def _all(found, prefix=""):
    for route in found:
        if isinstance(route, Mount):
            yield from _all(route.routes, prefix + route.path)
        else:
            yield prefix + route.path, route


def test_every_route_declares_who_may_use_it():
    for path, route in _all(routes()):
        assert isinstance(route, Route), path
        role = declared_role(route.endpoint)
        assert role is not None, f"{path} does not say which role it needs"
        assert role > Role.PUBLIC or path in PUBLIC, f"{path} is public"


def test_stranger_is_led_to_the_login_page(console):
    with console.client() as client:
        answer = client.get("/", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert client.get("/", headers={"Accept": "application/json"}).status_code == 401


def test_there_is_no_provider_where_none_is_configured(console):
    with console.client() as client:
        assert client.get("/login/provider").status_code == 404
        assert client.get("/login/callback?state=x&code=x").status_code == 404


def test_page_tells_what_the_node_is(console):
    with console.client(Role.VIEWER) as client:
        page = client.get("/")
    assert page.status_code == 200
    assert f"port {console.node.scp.port}" in page.text


def test_answers_carry_the_security_headers(console):
    with console.client(Role.VIEWER) as client:
        headers = client.get("/").headers
    assert headers["cache-control"] == "no-store"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "server" not in headers


def test_request_without_host_or_for_another_is_refused(console):
    for host in ("evil.example", "", "127.0.0.1.evil.example", "localhost@evil.example"):
        assert httpx.get(f"{console.url}/login", timeout=30, headers={"Host": host}).status_code in (400, 421)


def test_viewer_logs_in_and_out_in_a_browser(open_page):
    page = open_page(Role.VIEWER)
    assert page.get_by_role("heading", level=1).inner_text() == "Overview"
    page.get_by_text("viewer", exact=True).first.click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/")
    assert page.url.endswith("/login")


def test_form_of_a_session_that_is_over_leads_to_the_login_page(console):
    with console.client() as client:
        answer = client.post("/logout", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
