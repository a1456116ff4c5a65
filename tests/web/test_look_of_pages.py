"""The pages of this room in both themes and sizes: no serious finding of axe; pictures, where asked for."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from dae_pacs.web.role import Role

SHOTS = os.environ.get("SCREENSHOTS")
SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def serious(page):
    found = Axe().run(page)
    return [
        (one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_pages_have_no_serious_finding_of_axe(open_page, size, scheme):
    page = open_page(Role.ADMINISTRATOR, color_scheme=scheme, viewport=SIZES[size])
    for name, path in {
        "first": "/",
        "accounts": "/accounts",
        "account": "/account",
        "nothing": "/no",
    }.items():
        page.goto(path)
        keep(page, f"{name}-{size}-{scheme}")
        assert serious(page) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} scrolls sideways"
    stranger = open_page(color_scheme=scheme, viewport=SIZES[size])
    stranger.goto("/login")
    keep(stranger, f"login-{size}-{scheme}")
    assert serious(stranger) == []


def keep(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_theme_is_chosen_and_kept(viewer_page):
    page = viewer_page
    switch = page.get_by_role("button", name="Colours")
    switch.click()
    switch.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_keyboard_reaches_the_content_first(viewer_page):
    page = viewer_page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
