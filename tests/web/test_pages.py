"""Overview, studies, stories, rules and models over a node that has something to tell."""

import http.client
import io
import json
import time
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.web.role import Role

CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.3
minimum_free_mb = 0

[web]
port = 0

[audit]
file = "audit.xml"

[peers.archive]
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 1

[[rules]]
name = "slices"
when = { Modality = "CT" }
destinations = ["archive"]

[[rules]]
name = "rest"
action = "keep"
"""
SCRIPT = "<script>alert(1)</script>"
PAGES = ["/", "/studies", "/rules", "/models", "/models/xray_radiograph_denoising"]


def until(true, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def store(console, *paths):
    results = []
    send(console.address, [outgoing(path) for path in paths], calling_ae="MODALITY", on_result=results.append)
    assert len(results) == len(paths)


@pytest.fixture(scope="module")
def ids(console, tmp_path_factory):
    """Three studies: denoised and owed, in quarantine with a script for a name, deleted by retention."""
    folder = tmp_path_factory.mktemp("objects")
    slices, plain, old = Study(), Study(), Study()
    store(console, *write_all(ct_series(slices, slices=2, size=64), folder / "ct"))
    (path,) = write_all([radiograph(plain, "CR", series_number=2)], folder / "cr")
    ds = dcmread(path)
    ds.PatientID, ds.SeriesDescription = SCRIPT, SCRIPT
    ds.save_as(folder / "other.dcm")
    store(console, path)
    until(lambda: console.node.ledger.views.study_id_of(plain.uid))
    store(console, folder / "other.dcm")
    store(console, *write_all([radiograph(old, "DX", series_number=2)], folder / "dx"))
    views = console.node.ledger.views
    found = {
        name: until(lambda uid=uid: views.study_id_of(uid))
        for name, uid in (("ct", slices.uid), ("cr", plain.uid), ("gone", old.uid))
    }
    gone = [one for one in console.node.ledger.removable(time.time() + 9) if one.StudyInstanceUID == old.uid]
    console.node.ledger.remove(*(one.id for one in gone))
    until(lambda: views.story(found["ct"]).sent)
    return found


@pytest.fixture
def viewer(console, ids):
    with console.client(Role.VIEWER) as client:
        client.headers["Accept"] = "text/html"
        yield client


@pytest.fixture
def operator(console, ids):
    with console.client(Role.OPERATOR) as client:
        client.headers["Accept"] = "text/html"
        client.headers["X-CSRF-Token"] = client.get("/").text.split('csrf-token" content="')[1].split('"')[0]
        yield client


def audited(console):
    return (console.settings.node.spool.parent / "audit.xml").read_text()


def test_overview_says_what_there_is(viewer):
    page = viewer.get("/").text
    assert "archive" in page
    assert "in quarantine" in page
    assert "xray_radiograph_denoising" in page


def test_overview_is_sent_anew_when_something_changes(console, viewer, tmp_path):
    with viewer.stream("GET", "/live", headers={"X-Live": "1"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        news = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        assert {"figures", "chart", "destinations"} <= next(news).keys()
        store(console, *write_all([radiograph(Study(), "CR", series_number=7)], tmp_path))
        later = next(part for part in news if "latest" in part)
        assert "figures" in later


def test_stranger_hears_no_news(console, ids):
    with console.client() as client:
        assert client.get("/live").status_code == 401


def test_studies_are_found_by_what_is_known(operator):
    assert "CT" in operator.post("/studies", data={"modality": "CT"}).text
    assert "No study fits" in operator.post("/studies", data={"words": "nobody"}).text
    part = operator.post("/studies", data={"state": "quarantined"}, headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "in quarantine" in part


@pytest.mark.parametrize(
    "form",
    [{"words": "%' OR 1=1 --"}, {"after": "x/y"}, {"after": "9" * 99}, {"state": "none"}, {"date_from": "1"}],
)
def test_odd_searches_are_searches(operator, form):
    assert operator.post("/studies", data=form).status_code == 200


def test_a_story_tells_who_sent_it_and_why_it_was_denoised(viewer, ids):
    page = viewer.get(f"/studies/{ids['ct']}").text
    assert "from MODALITY (127.0.0.1)" in page
    assert "rule 1 &#34;slices&#34; matches: Modality is &#34;CT&#34;" in page
    assert "waiting for archive" in page
    assert "denoise 0." in page or "denoise " in page


def test_a_script_in_a_name_is_text(viewer, ids):
    other = ids["cr"] + 1
    for path in ("/", "/studies", f"/studies/{ids['cr']}", f"/studies/{other}"):
        page = viewer.get(path).text
        assert SCRIPT not in page
    assert "&lt;script&gt;" in viewer.get(f"/studies/{other}").text


def test_studies_that_are_not_there_are_told_of(viewer, ids):
    assert viewer.get("/studies/999999").status_code == 404
    assert viewer.get("/studies/none").status_code == 404
    gone = viewer.get(f"/studies/{ids['gone']}")
    assert gone.status_code == 410
    assert "were deleted" in gone.text
    assert "Traceback" not in gone.text


def test_news_of_a_story_come_only_when_there_are_some(viewer, ids):
    page = viewer.get(f"/studies/{ids['gone']}/news")
    mark = page.text.split("?seen=")[1].split('"')[0]
    assert viewer.get(f"/studies/{ids['gone']}/news", params={"seen": mark}).status_code == 204


def test_viewers_change_nothing(console, viewer, ids):
    token = viewer.get("/").text.split('csrf-token" content="')[1].split('"')[0]
    for path in (f"/studies/{ids['ct']}/retry", "/destinations/archive/echo", "/quarantine/1/delete"):
        assert viewer.post(path, headers={"X-CSRF-Token": token}).status_code == 403
    assert "data-opens" not in viewer.get(f"/studies/{ids['ct']}").text


def test_nothing_is_done_without_the_token(operator, ids):
    assert operator.post(f"/studies/{ids['ct']}/retry", headers={"X-CSRF-Token": ""}).status_code == 403


def test_an_operator_retries_with_his_name_beside_it(console, operator, ids):
    assert operator.post(f"/studies/{ids['ct']}/retry").status_code == 303
    assert "operator at the console" in operator.get(f"/studies/{ids['ct']}").text
    until(lambda: 'UserID="operator"' in audited(console))


def test_an_operator_has_a_study_denoised_again(console, operator, ids):
    path = f"/studies/{ids['ct']}/reprocess"
    wish = {"model": "xray_radiograph_denoising", "strength": "0.35"}
    assert operator.post(path, data=wish).status_code == 303
    assert operator.post(path, data=wish).status_code == 409
    views = console.node.ledger.views

    def derived():
        groups = [one for one in views.story(ids["ct"]).objects if one.origin == "derived"]
        return groups if len(groups) == 2 else None

    first, again = until(derived)
    assert first.SeriesInstanceUID != again.SeriesInstanceUID
    assert "s=0.3" in again.SeriesDescription or "s=0.4" in again.SeriesDescription


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"model": "none_such"}, 409),
        ({"model": "../../etc"}, 409),
        ({"model": "xray_radiograph_denoising", "strength": "2"}, 400),
        ({"model": "xray_radiograph_denoising", "strength": "nan"}, 400),
        ({"model": "xray_radiograph_denoising", "strength": "much"}, 400),
    ],
)
def test_wishes_that_make_no_sense_are_refused_in_words(operator, ids, wish, status):
    answer = operator.post(f"/studies/{ids['ct']}/reprocess", data=wish)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_an_object_is_released_and_the_other_deleted(console, operator, ids):
    views = console.node.ledger.views
    (held,) = views.story(ids["cr"] + 1).quarantined
    decision = {"digest": held.digest}
    assert operator.post(f"/quarantine/{held.id}/release", data={"digest": "0" * 64}).status_code == 409
    assert operator.post(f"/quarantine/{held.id}/release", data=decision).status_code == 303
    assert operator.post(f"/quarantine/{held.id}/delete", data=decision).status_code == 404
    (aside,) = views.story(ids["cr"]).quarantined
    assert aside.PatientID != SCRIPT
    assert operator.post(f"/quarantine/{aside.id}/delete", data=decision).status_code == 409
    decision = {"digest": aside.digest}
    assert operator.post(f"/quarantine/{aside.id}/delete", data=decision).status_code == 303
    assert operator.post(f"/quarantine/{aside.id}/delete", data=decision).status_code == 404
    assert views.story(ids["cr"]).quarantined == ()
    until(lambda: "110105" in audited(console) or "110103" in audited(console))


def test_echo_says_what_a_destination_answers(operator):
    assert "archive" in operator.post("/destinations/archive/echo").text
    assert "no such destination" in operator.post("/destinations/none/echo").text


def test_rules_stand_in_words(viewer):
    page = viewer.get("/rules").text
    assert "Modality is &#34;CT&#34;" in page
    assert "kept in the spool, nothing is delivered" in page


def test_a_dry_run_says_what_would_happen_and_keeps_nothing(console, operator):
    before = console.node.ledger.counts()
    path = Path(get_testdata_file("CT_small.dcm", download=False))
    answer = operator.post("/rules", files={"file": ("x.dcm", path.read_bytes())}, data={"calling_ae": "CT1"})
    assert "Would be denoised with xray_radiograph_denoising" in answer.text
    assert console.node.ledger.counts() == before


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 200, b"\0" * 128 + b"DICM"])
def test_a_dry_run_of_what_is_no_dicom_is_refused_in_words(operator, content):
    answer = operator.post("/rules", files={"file": ("<b>x</b>.dcm", io.BytesIO(content))})
    assert answer.status_code == 200
    assert "notice bad" in answer.text
    assert "<b>x</b>" not in answer.text


def test_a_dry_run_of_two_gigabytes_is_refused_unread(console, operator):
    url = httpx.URL(console.url)
    connection = http.client.HTTPConnection(url.host, url.port, timeout=20)
    connection.putrequest("POST", "/rules")
    connection.putheader("Content-Length", "2000000000")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Cookie", "; ".join(f"{name}={value}" for name, value in operator.cookies.items()))
    connection.putheader("X-CSRF-Token", operator.headers["X-CSRF-Token"])
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_models_say_what_they_are_for(viewer):
    page = viewer.get("/models").text
    assert "Research and evaluation; not a medical device." in page
    card = viewer.get("/models/xray_radiograph_denoising").text
    assert "<table" in card
    assert viewer.get("/models/none").status_code == 404
    assert viewer.get("/models/..%2f..%2fetc").status_code == 404
    assert viewer.get("/models/xray_radiograph_denoising/pictures/none.png").status_code == 404


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_finding_of_axe(ids, open_page, scheme):
    page = open_page(Role.OPERATOR, color_scheme=scheme, viewport={"width": 1100, "height": 800})
    found = []
    for path in [*PAGES, f"/studies/{ids['ct']}", f"/studies/{ids['cr']}", "/studies/999999"]:
        page.goto(path)
        violations = Axe().run(page).response["violations"]
        found += [
            (path, one["id"], [node["target"] for node in one["nodes"]])
            for one in violations
            if one["impact"] in {"serious", "critical"}
        ]
    assert found == []


def test_no_page_is_wider_than_a_phone(ids, open_page):
    page = open_page(Role.OPERATOR, viewport={"width": 360, "height": 740})
    for path in [*PAGES, f"/studies/{ids['ct']}", f"/studies/{ids['cr']}"]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_dialogs_ask_first_and_give_the_keyboard_back(ids, open_page):
    page = open_page(Role.OPERATOR)
    page.goto(f"/studies/{ids['ct']}")
    page.get_by_role("button", name="Denoise again…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Denoise once more?")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.dataset.opens") == "ask-again"
