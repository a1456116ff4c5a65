import stat
from pathlib import Path

from dae_pacs.audit.backlog import Backlog


def test_what_was_put_first_comes_first_whoever_put_it(tmp_path: Path, entry) -> None:
    one, other = Backlog(tmp_path / "queue", most=10), Backlog(tmp_path / "queue", most=10)
    one.put([entry(2)])
    other.put([entry(1), entry(3)])
    assert [found for _, found in one.waiting(10)] == [entry(1), entry(2), entry(3)]
    assert [found for _, found in one.waiting(2)] == [entry(1), entry(2)]


def test_what_is_done_is_gone(tmp_path: Path, entry) -> None:
    backlog = Backlog(tmp_path / "queue", most=10)
    backlog.put([entry(1), entry(2)])
    (path, _), _ = backlog.waiting(10)
    backlog.done(path)
    backlog.done(path)
    assert [found for _, found in backlog.waiting(10)] == [entry(2)]
    assert len(backlog) == 1


def test_it_is_bounded_and_says_what_found_no_room(tmp_path: Path, entry) -> None:
    backlog = Backlog(tmp_path / "queue", most=2)
    assert backlog.put([entry(1)]) == []
    assert backlog.put([entry(2), entry(3), entry(4)]) == [entry(3), entry(4)]
    assert len(backlog) == 2


def test_it_is_for_its_owner_alone(tmp_path: Path, entry) -> None:
    backlog = Backlog(tmp_path / "queue", most=2)
    backlog.put([entry(1)])
    assert stat.S_IMODE(backlog.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in backlog.folder.iterdir()] == [0o600]


def test_an_empty_one_makes_no_folder(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path / "queue", most=2)
    assert backlog.is_empty()
    assert len(backlog) == 0
    assert backlog.waiting(1) == []
    assert not backlog.folder.exists()


def test_strange_files_and_halves_are_passed_over(tmp_path: Path, entry) -> None:
    backlog = Backlog(tmp_path / "queue", most=2)
    backlog.put([entry(1)])
    (backlog.folder / ".x.xml.part").write_bytes(b"half")
    (backlog.folder / "notes.xml").write_bytes(b"no message")
    assert [found for _, found in backlog.waiting(10)] == [entry(1)]
