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


def test_entry_point_serves_and_health_check_passes(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DAE_PACS_NODE__SPOOL": str(tmp_path / "spool"),
        "DAE_PACS_NODE__PORT": str(port),
        "DAE_PACS_NODE__MINIMUM_FREE_MB": "10",
    }
    assert "/etc/dae-pacs/dae-pacs.toml" in _last_json("CMD")
    in_image = _last_json("ENTRYPOINT") + _last_json("CMD")
    command = [word.replace("/etc/dae-pacs/", f"{DOCKER}/") for word in in_image]
    probe = [word.replace("/etc/dae-pacs/", f"{DOCKER}/") for word in _last_json("HEALTHCHECK")]
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as node:
        try:
            health = [subprocess.run(probe, env=environment, check=False, capture_output=True).returncode]
            while health[-1] != 0 and len(health) < 60 and node.poll() is None:
                health.append(
                    subprocess.run(probe, env=environment, check=False, capture_output=True).returncode
                )
            assert health[-1] == 0
        finally:
            node.terminate()
            exit_code = node.wait(60)
    assert exit_code == 0
