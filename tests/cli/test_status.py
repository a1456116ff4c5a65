import base64
import getpass
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.audit.backlog import Backlog
from dae_pacs.audit.entry import Entry
from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.pulls import Wish
from dae_pacs.spool.records import NewDerived, NewInstance, Plan

Run = Callable[..., Any]
DENOISE = Plan("denoise", rule="ct", model="general", destinations=("pacs",), description="{source} x")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "spool").mkdir()
    with Ledger(tmp_path / "spool" / LEDGER_NAME) as opened:
        yield opened


def received(study: str, number: int, spool: Path, *, patient: str = "P1") -> NewInstance:
    path = spool / f"{study}.{number}.dcm"
    path.write_bytes(b"object")
    return NewInstance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        SOPInstanceUID=f"{study}.1.{number}",
        StudyInstanceUID=study,
        SeriesInstanceUID=f"{study}.1",
        PatientID=patient,
        AccessionNumber="A7",
        StudyDate="20261122",
        Modality="CT",
        SeriesDescription="Thorax",
        SeriesNumber=1,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=f"{number:064x}",
        path=path,
        size_bytes=6,
        calling_ae="GANTRY",
        called_ae="DAE_PACS",
        address="127.0.0.1",
        association="a",
        expected_count=None,
        received_at=time.time(),
    )


def keep(
    ledger: Ledger, tmp_path: Path, study: str, plan: Plan, *, count: int = 1, patient: str = "P1"
) -> None:
    for number in range(count):
        ledger.keep(received(study, number, tmp_path / "spool", patient=patient), plan)


def fail_job(ledger: Ledger) -> None:
    now = time.time() + 60
    ledger.association_ended("a")
    ledger.promote_ready(now, quiet_s=0, idle_s=0)
    job = ledger.claim_job("w", lease_s=60, now=now)
    assert job
    ledger.fail_job(job.id, "w", reason="the network went blind", max_attempts=1, now=now)


def test_a_study_under_way_is_listed_with_its_job(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE, count=3)

    ran = run("status")

    assert ran.code == 0
    assert "P1" in ran.out
    assert "1.2.3" in ran.out
    assert "being denoised" in ran.out
    assert "Jobs that are not done" in ran.out
    assert "collecting" in ran.out
    assert "3 received kept" in ran.out


def test_trouble_is_shown_with_the_way_out(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE)
    fail_job(ledger)

    ran = run("status")

    assert "1 job(s) failed" in ran.out
    assert "the network went blind" in ran.out
    assert "dae-pacs retry" in ran.out


def test_a_delivered_study_is_delivered(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(
        ledger, tmp_path, "1.2.3", Plan("forward", rule="all", destinations=("pacs",), forward_original=True)
    )
    (delivery,) = ledger.deliveries()

    assert "1 on the way" in run("status").out
    now = time.time()
    ledger.outbox.claim("pacs", now=now, limit=1, breaker_after=5)
    ledger.outbox.tell([Told(delivery.id, Fate.TAKEN)], now=now)

    assert "1/1" in run("status").out
    assert "Deliveries that are not done" not in run("status").out


def test_one_study_is_told_whole(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    plan = Plan("pass_over", rule="ct", reason="a scout view", destinations=("pacs",), forward_original=True)
    keep(ledger, tmp_path, "1.2.3", plan, count=2)
    keep(ledger, tmp_path, "9.9", DENOISE, patient="OTHER")
    (delivery,) = ledger.outbox.claim("pacs", now=time.time(), limit=1, breaker_after=5)
    ledger.outbox.tell([Told(delivery.id, Fate.HOPELESS, "the peer can't read it")], now=time.time())

    ran = run("status", "--study", "1.2.3")

    assert ran.code == 0
    for words in ("Thorax", "passed over", "a scout view", "given up", "the peer can't read it", "waiting"):
        assert words in ran.out
    assert "OTHER" not in ran.out


def test_derived_objects_are_counted(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE)
    now = time.time() + 60
    ledger.association_ended("a")
    ledger.promote_ready(now, quiet_s=0, idle_s=0)
    job = ledger.claim_job("w", lease_s=60, now=now)
    assert job
    (instance,) = ledger.pending_instances(job.id)
    path = tmp_path / "spool" / "derived.dcm"
    path.write_bytes(b"derived")
    new = NewDerived(
        "1.2", "2.25.1", "2.25.2", "Thorax x", 1001, "1.2.840.10008.1.2.1", "d" * 64, path, 7, now
    )
    ledger.record_derived(job.id, instance.id, new=new)
    ledger.finish_job(job.id, "w", stages={"denoise": 1.5}, now=now)

    story = run("status", "--study", "1.2.3").out

    assert "Thorax x" in story
    assert "dae-pacs" in story
    assert "done" in story


def test_json_is_for_programs(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE, count=2)

    everything = json.loads(run("status", "--json").out)
    story = json.loads(run("status", "--json", "--study", "1.2.3").out)

    assert everything["counts"]["instances"] == {"received kept": 2}
    assert everything["studies"][0]["StudyInstanceUID"] == "1.2.3"
    assert everything["jobs"][0]["destinations"] == ["pacs"]
    assert len(story["instances"]) == 2


def test_what_came_off_the_wire_is_no_markup_and_no_control_character(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE, patient="[red]\x1b[2J")

    assert "[red]?[2J" in run("status").out


def test_a_spool_with_nothing_in_it_says_so(run: Run, ledger: Ledger) -> None:
    assert "Nothing was received yet." in run("status").out


@pytest.mark.parametrize("command", ["status", "retry"])
def test_a_spool_that_no_node_has_used_is_refused_and_left_alone(
    run: Run, command: str, tmp_path: Path
) -> None:
    ran = run(command)

    assert ran.code == 1
    assert f"Spool {tmp_path}/spool: has no ledger" in ran.err
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("command", ["status", "retry"])
def test_an_unknown_study_is_refused(run: Run, ledger: Ledger, command: str) -> None:
    ran = run(command, "--study", "1.2.3")

    assert ran.code == 1
    assert "no study" in ran.err


def test_a_ledger_that_is_none_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / LEDGER_NAME).write_bytes(b"no database" * 100)

    ran = run("status")

    assert ran.code == 1
    assert LEDGER_NAME in ran.err
    assert "Traceback" not in ran.err


def test_retry_requeues_what_failed(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    keep(ledger, tmp_path, "1.2.3", DENOISE)
    fail_job(ledger)

    ran = run("retry", "--study", "1.2.3")

    assert ran.code == 0
    assert "Requeued: 1 job(s)" in ran.out
    assert [job.status for job in ledger.jobs()] == ["ready"]


def test_retry_says_that_there_is_nothing(run: Run, ledger: Ledger) -> None:
    assert "Nothing to retry" in run("retry").out


def test_audit_messages_that_wait_are_told(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    Backlog(tmp_path / "spool" / "audit" / "syslog", most=5).put([Entry(1, b"<AuditMessage/>")])

    assert "Audit trail: 1 message(s) wait for its syslog" in run("status").out
    assert json.loads(run("status", "--json").out)["audit_messages_waiting"] == {"syslog": 1}


def test_a_retry_is_in_the_audit_trail_with_who_did_it(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text('[audit]\nfile = "audit.xml"\n')
    keep(ledger, tmp_path, "1.2.3", DENOISE)
    fail_job(ledger)

    assert run("retry", "--study", "1.2.3").code == 0

    (message,) = (tmp_path / "audit.xml").read_text().splitlines()
    assert 'originalText="Use of Restricted Function"' in message
    assert f"{getpass.getuser()}@" in message
    words = base64.b64encode(b"dae-pacs retry, study 1.2.3. Requeued: 1 job(s)").decode()[:-4]
    assert words in message


PEER = '[peers.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
FORWARD = Plan("forward", rule="all", destinations=("pacs",))


def test_each_destination_is_told_with_its_state_and_last_error(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "dae-pacs.toml").write_text(PEER)
    keep(ledger, tmp_path, "1.2.3", FORWARD, count=4)
    now = time.time()
    sent, uncommitted, dead, _ = ledger.outbox.claim("pacs", now=now, limit=9, breaker_after=2)
    ledger.outbox.tell([Told(sent.id, Fate.TAKEN)], now=now)
    ledger.outbox.tell([Told(uncommitted.id, Fate.TAKEN)], now=now, wants_commitment=True)
    ledger.outbox.tell([Told(dead.id, Fate.HOPELESS, "cannot understand")], now=now)
    for _number in range(5):
        ledger.outbox.failed("pacs", error="connection refused", now=now)

    ran = run("status")
    (state,) = json.loads(run("status", "--json").out)["destinations"]

    for words in ("Destinations", "failed 5 times, one object is tried in", "connection refused"):
        assert words in ran.out
    assert "1 awaiting commitment" in ran.out
    counts = {name: state[name] for name in ("sending", "delivered", "uncommitted", "dead", "committed")}
    assert counts == {"sending": 1, "delivered": 1, "uncommitted": 1, "dead": 1, "committed": 0}
    assert (state["breaker"], state["failures"], state["is_configured"]) == ("open", 5, True)


def test_a_destination_that_left_the_configuration_is_named_with_the_way_out(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    keep(ledger, tmp_path, "1.2.3", Plan("forward", rule="all", destinations=("gone",)))

    assert "not in the configuration" in run("status").out
    assert "dae-pacs drop gone" in run("status").out


def test_pull_rules_are_told_with_what_is_the_matter(run: Run, ledger: Ledger) -> None:
    ledger.pulls.rule("priors")
    wish = Wish("1.2", "1.2.1", 3, "prior of study 1.1")
    ledger.pulls.wish("priors", "pacs", wishes=[wish], now=time.time())
    ledger.pulls.failed("priors", error="pacs: connection refused", now=time.time())
    ran = run("status")
    assert ran.code == 0, ran.err
    for words in ("Pull rules", "priors", "pacs: connection refused"):
        assert words in ran.out
    (told,) = json.loads(run("status", "--json").out)["pulls"]
    assert (told["name"], told["waiting"], told["failures"]) == ("priors", 1, 1)
