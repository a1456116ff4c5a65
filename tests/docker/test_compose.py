"""compose.yaml and the configurations that it mounts: they must fit each other."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dae_pacs.config.load import load
from dae_pacs.demo.orthanc import NODE_ALIAS, SCRIPTS, Orthanc, Routing

DOCKER = Path(__file__).resolve().parents[2] / "docker"
FILES = ["compose.yaml", "compose.cuda.yaml"]


def _services() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"])


def _orthanc() -> dict[str, Any]:
    return dict(json.loads((DOCKER / "orthanc" / "orthanc.json").read_text()))


def test_compose_says_that_the_files_are_valid() -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    arguments = [word for name in FILES for word in ("-f", str(DOCKER / name))]
    subprocess.run([compose, *arguments, "config", "--quiet"], check=True)


def test_every_mounted_file_is_in_the_repository() -> None:
    mounts = [volume for service in _services().values() for volume in service["volumes"]]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert sources
    assert all((DOCKER / source).is_file() for source in sources)


def test_named_volumes_are_declared() -> None:
    composed = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    mounts = [
        volume.split(":")[0] for service in composed["services"].values() for volume in service["volumes"]
    ]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(composed["volumes"])


def test_node_and_orthanc_know_each_other() -> None:
    settings, orthanc = load(DOCKER / "dae-pacs.toml"), _orthanc()
    assert orthanc["DicomModalities"][NODE_ALIAS] == [settings.node.ae_title, "dae-pacs", settings.node.port]
    peer = settings.peers["orthanc"]
    assert (peer.ae_title, peer.host, peer.port) == (orthanc["DicomAet"], "orthanc", orthanc["DicomPort"])
    assert {"dae-pacs", "orthanc"} == set(_services())


def test_orthanc_waits_for_a_healthy_node() -> None:
    assert _services()["orthanc"]["depends_on"] == {"dae-pacs": {"condition": "service_healthy"}}


def test_ports_are_open_on_loopback_only() -> None:
    ports = [port for service in _services().values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_the_script_that_the_demo_runs() -> None:
    script = f"../dae_pacs/demo/{SCRIPTS[Routing.ORIGINALS]}"
    mounts = [mount.split(":") for mount in _services()["orthanc"]["volumes"]]
    targets = [target for source, target, *_ in mounts if source == script]
    assert targets == _orthanc()["LuaScripts"]


@pytest.mark.pacs
def test_orthanc_starts_with_the_mounted_configuration(tmp_path: Path, start_orthanc: Any) -> None:
    options = _orthanc()
    for key in ("StorageDirectory", "IndexDirectory", "LuaScripts", "DicomPort", "AuthenticationEnabled"):
        del options[key]  # paths and ports of the container, and a password that the test does not send
    orthanc: Orthanc = start_orthanc(routing=Routing.ORIGINALS, **options)
    assert orthanc.rest.get("/modalities") == [NODE_ALIAS]
