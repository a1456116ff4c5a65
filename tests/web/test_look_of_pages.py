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


SHOWN = """async () => {
    const { colour } = await import("/static/colours.js");
    const style = getComputedStyle(document.body);
    return [style.backgroundColor, style.color, colour("--muted"), colour("--line")];
}"""
LIGHT = ["rgb(244, 246, 248)", "rgb(26, 34, 48)", "rgb(86, 97, 115)", "rgb(213, 219, 227)"]
DARK = ["rgb(15, 19, 24)", "rgb(229, 234, 240)", "rgb(158, 171, 186)", "rgb(44, 54, 67)"]


@pytest.mark.parametrize(("scheme", "of_system"), [("light", LIGHT), ("dark", DARK)])
def test_colours_follow_the_system_or_the_switch_on_pages_and_canvases(open_page, scheme, of_system):
    page = open_page(Role.VIEWER, color_scheme=scheme)
    seen = []
    for choice in ("auto", "light", "dark"):
        seen.append(page.evaluate(SHOWN))
        keep(page, f"theme-{choice}-on-{scheme}")
        page.get_by_role("button", name="Colours").click()
    assert seen == [of_system, LIGHT, DARK]
    assert page.evaluate(SHOWN) == of_system


def test_keyboard_reaches_the_content_first(viewer_page):
    page = viewer_page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
