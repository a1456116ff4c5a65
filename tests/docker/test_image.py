"""The Dockerfile, as far as it can be held to account without an engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse import certificates
from dae_pacs.dimse.certificates import refuse_open_key

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
# A line that ends in a backslash goes on in the next one.
INSTRUCTIONS = [
    line.strip()
    for line in (DOCKER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


def _all(keyword: str) -> list[str]:
    return [line.removeprefix(f"{keyword} ") for line in INSTRUCTIONS if line.startswith(f"{keyword} ")]


def _last_json(keyword: str) -> list[str]:
    return list(json.loads(re.sub(r"^.*?(?=\[)", "", _all(keyword)[-1])))


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    answer = subprocess.run(
        [hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "")


def test_image_does_not_run_as_root() -> None:
    assert _all("USER")[-1] == "10001"


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    offered = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = [source for line in _all("COPY") if "--from" not in line for source in line.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert source in offered


def test_build_installs_what_pyproject_builds_from() -> None:
    copied = {source for line in _all("COPY") for source in line.split()[:-1]}
    assert {"pyproject.toml", "README.md", "LICENSE", "dae_pacs", "models", "training"} <= copied


def test_console_keys_are_made_once_and_the_key_is_nobody_elses(tmp_path: Path) -> None:
    script = DOCKER / "console" / "make-keys.sh"
    before: dict[str, bytes] = {}
    for _ in range(2):
        subprocess.run(["/bin/sh", script, tmp_path], check=True, capture_output=True)
        made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert set(made) == {"console.pem", "console.key", "metrics-token"}
        assert before in ({}, made)
        before = made
    refuse_open_key(tmp_path / "console.key")
    (certificate,) = certificates.read(tmp_path / "console.pem")
    assert {"dae-pacs", "localhost", "127.0.0.1"} <= set(certificate.names)
    assert certificate.days_left() > 800


def test_entry_point_serves_and_health_check_passes(tmp_path: Path) -> None:
    """As in the container, with its console over TLS, but for ports and places."""
    port, web_port = free_port(), free_port()
    subprocess.run(
        ["/bin/sh", DOCKER / "console" / "make-keys.sh", tmp_path], check=True, capture_output=True
    )
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DAE_PACS_NODE__SPOOL": str(tmp_path / "spool"),
        "DAE_PACS_NODE__PORT": str(port),
        "DAE_PACS_NODE__MINIMUM_FREE_MB": "10",
        "DAE_PACS_WEB__BIND": "127.0.0.1",
        "DAE_PACS_WEB__PORT": str(web_port),
        "DAE_PACS_WEB__CERTIFICATE": str(tmp_path / "console.pem"),
        "DAE_PACS_WEB__KEY": str(tmp_path / "console.key"),
    }
    assert "/etc/dae-pacs/dae-pacs.toml" in _last_json("CMD")
    in_image = _last_json("ENTRYPOINT") + _last_json("CMD")
    command = [word.replace("/etc/dae-pacs/", f"{DOCKER}/") for word in in_image]
    probe = [word.replace("/etc/dae-pacs/", f"{DOCKER}/") for word in _last_json("HEALTHCHECK")]

    def probed() -> subprocess.CompletedProcess[str]:
        return subprocess.run(probe, env=environment, check=False, capture_output=True, text=True)

    with subprocess.Popen(command, env=environment, cwd=tmp_path) as node:
        try:
            for _ in range(60):
                health = probed()
                if node.poll() is not None or "compute" in health.stdout:
                    break
            assert (health.returncode, health.stderr) == (0, "")
            assert health.stdout.startswith("receive  ready")
        finally:
            node.terminate()
            exit_code = node.wait(60)
    assert exit_code == 0
