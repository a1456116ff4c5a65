import json
import logging
import os
import stat
from pathlib import Path

import pytest

from dae_pacs import log
from dae_pacs.config.model import LogSettings
from dae_pacs.errors import ConfigError

logger = logging.getLogger("dae_pacs.test")


pytestmark = pytest.mark.usefixtures("restored_logging")


def test_fields_follow_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings())

    logger.info("job done", extra={"job": 12, "seconds": 3.41234567, "peer": "orthanc"})

    assert capsys.readouterr().err.endswith(
        "INFO    dae_pacs.test: job done job=12 seconds=3.41235 peer=orthanc\n"
    )


def test_a_value_off_the_wire_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings())

    logger.info("association from\nnowhere", extra={"calling_ae": "A\nERROR forged=1"})

    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert 'association from\\nnowhere calling_ae="A\\nERROR forged=1"' in err


def test_json_has_one_object_a_line(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "node.log"
    log.configure(LogSettings(format="json", file=file))

    logger.warning("object refused", extra={"status": "A700", "path_count": 2})
    try:
        int("boom")
    except ValueError:
        logger.exception("job failed")

    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert first["level"] == "WARNING"
    assert first["logger"] == "dae_pacs.test"
    assert (first["message"], first["status"], first["path_count"]) == ("object refused", "A700", 2)
    assert second["exception"].endswith("ValueError (its words are left out)")
    assert "test_log.py" in second["exception"]
    assert "boom'" not in second["exception"].replace('int("boom")', "")


def test_the_level_is_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(level="WARNING"))

    logger.info("not this")
    logger.warning("this")

    assert "not this" not in capsys.readouterr().err


def test_verbose_logs_everything_of_ours_and_no_chatter_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(verbose=True)

    logger.debug("ours")
    logging.getLogger("pynetdicom.acse").info("theirs")

    err = capsys.readouterr().err
    assert "ours" in err
    assert "theirs" not in err


def test_a_repeat_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings())
    log.configure(LogSettings())

    logger.info("once")

    assert capsys.readouterr().err.count("once") == 1


def test_a_traceback_follows_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    try:
        int("boom")
    except ValueError:
        logger.exception("job failed", extra={"job": 1})

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("job failed job=1")
    assert lines[-1] == "ValueError (its words are left out)"


def test_a_log_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        log.configure(LogSettings(file=tmp_path / "node.log"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "node.log").stat().st_mode) == 0o600


def test_a_log_file_that_can_not_be_opened_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't be opened .* Set log\.file"):
        log.configure(LogSettings(file=tmp_path))


def test_libraries_that_quote_values_are_kept_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings())

    logging.getLogger("pydicom").warning("Invalid value for VR PN: 'Doe^Jane'")
    logging.getLogger("py.warnings").warning("The value 'Doe^Jane' is too long")
    logging.getLogger("pynetdicom.utils").error("can't decode 'Doe^Jane'")

    assert "Doe" not in capsys.readouterr().err
