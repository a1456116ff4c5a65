"""compose.yaml and the configurations that it mounts: they must fit each other."""

import json
import os
import re
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
COMPOSED = yaml.safe_load((DOCKER / "compose.yaml").read_text())
PASSWORDS = ("ORTHANC_PASSWORD", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD")
ARCHIVES = ("orthanc", "orthanc-postgres")


def _services() -> dict[str, Any]:
    return dict(COMPOSED["services"])


def _mounts(service: dict[str, Any]) -> list[list[str]]:
    return [volume.split(":") for volume in service.get("volumes", [])]


def _orthanc() -> dict[str, Any]:
    return dict(json.loads((DOCKER / "orthanc" / "orthanc.json").read_text()))


def _compose(**environment: str) -> subprocess.CompletedProcess[str]:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    arguments = [word for name in FILES for word in ("-f", str(DOCKER / name))]
    around = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    return subprocess.run(
        [compose, *arguments, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        env=around | environment,
        cwd="/",  # where no .env of a site is
    )


def test_compose_says_that_the_files_are_valid() -> None:
    ran = _compose(**dict.fromkeys(PASSWORDS, "secret"))
    assert (ran.returncode, ran.stderr) == (0, "")


def test_without_passwords_of_its_own_nothing_starts() -> None:
    if (DOCKER / ".env").exists():
        pytest.skip("docker/.env is here, with passwords")
    ran = _compose()
    assert ran.returncode != 0
    assert "run docker/set-up.sh first" in ran.stderr


def test_set_up_makes_passwords_once(tmp_path: Path) -> None:
    shutil.copy(DOCKER / "set-up.sh", tmp_path)
    for _ in range(2):
        ran = subprocess.run([tmp_path / "set-up.sh"], capture_output=True, text=True, check=True)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == {"COMPOSE_PROFILES", *PASSWORDS}
    passwords = [made[name] for name in PASSWORDS]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch("[0-9a-f]{36}", password) for password in passwords)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert not any(password in ran.stdout for password in passwords)


def test_no_password_stands_in_a_file_of_the_repository() -> None:
    for path in (path for path in DOCKER.rglob("*") if path.is_file() and path.name != ".env"):
        for line in path.read_text().splitlines():
            secret = re.search(r'PASSWORD["\']?\s*[:=]\s*["\']?(?P<value>[^\s"\']+)', line)
            if secret is not None:
                assert secret["value"].startswith("${"), f"{path.name}: {line}"
    assert all(value == "${ORTHANC_PASSWORD}" for value in _orthanc()["RegisteredUsers"].values())


def test_every_mounted_file_is_in_the_repository() -> None:
    sources = [mount[0] for service in _services().values() for mount in _mounts(service)]
    files = [source for source in sources if source.startswith(".")]
    assert files
    assert all((DOCKER / source).is_file() for source in files)


def test_named_volumes_and_networks_are_declared() -> None:
    sources = {mount[0] for service in _services().values() for mount in _mounts(service)}
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSED["volumes"])
    networks = {name for service in _services().values() for name in service.get("networks", [])}
    assert networks == set(COMPOSED["networks"])


def test_profiles_are_one_archive_or_the_other_and_monitoring_besides() -> None:
    chosen = {name: service.get("profiles") for name, service in _services().items()}
    assert chosen.pop("dae-pacs") is None
    assert chosen.pop("console-keys") is None
    assert chosen == {
        "orthanc": ["orthanc"],
        "orthanc-postgres": ["orthanc-postgres"],
        "postgres": ["orthanc-postgres"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_node_and_orthanc_know_each_other() -> None:
    settings, orthanc = load(DOCKER / "dae-pacs.toml"), _orthanc()
    assert orthanc["DicomModalities"][NODE_ALIAS] == [settings.node.ae_title, "dae-pacs", settings.node.port]
    peer = settings.peers["orthanc"]
    assert (peer.ae_title, peer.host, peer.port) == (orthanc["DicomAet"], "orthanc", orthanc["DicomPort"])
    assert _services()["orthanc-postgres"]["networks"]["pacs"]["aliases"] == ["orthanc"]


def test_console_and_prometheus_share_a_certificate_and_a_token() -> None:
    settings = load(DOCKER / "dae-pacs.toml")
    (keys,) = (mount[1] for mount in _mounts(_services()["console-keys"]) if mount[0] == "console")
    (ours,) = (mount[1] for mount in _mounts(_services()["dae-pacs"]) if mount[0] == "console")
    (theirs,) = (mount[1] for mount in _mounts(_services()["prometheus"]) if mount[0] == "console")
    assert keys == ours == _services()["console-keys"]["entrypoint"][-1]
    (scrape,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    certificate, token = settings.web.certificate, settings.metrics.token_file
    assert certificate is not None
    assert token is not None
    assert scrape["tls_config"]["ca_file"] == str(certificate).replace(ours, theirs)
    assert scrape["authorization"]["credentials_file"] == str(token).replace(ours, theirs)
    host, port = scrape["static_configs"][0]["targets"][0].split(":")
    assert (host, int(port)) == (_services()["dae-pacs"]["hostname"], settings.web.port)


@pytest.mark.parametrize("name", ARCHIVES)
def test_orthanc_waits_for_a_healthy_node(name: str) -> None:
    assert _services()[name]["depends_on"]["dae-pacs"] == {"condition": "service_healthy"}


def test_ports_are_open_on_loopback_only() -> None:
    ports = [port for service in _services().values() for port in service.get("ports", [])]
    assert len(ports) == 8
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_everything_is_kept_from_new_privileges_and_ours_from_writing() -> None:
    for service in _services().values():
        assert service["security_opt"] == ["no-new-privileges:true"]
    for name in ("dae-pacs", "console-keys", "prometheus", "grafana"):
        service = _services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_compose_mounts_the_script_that_the_demo_runs(name: str) -> None:
    script = f"../dae_pacs/demo/{SCRIPTS[Routing.ORIGINALS]}"
    targets = [mount[1] for mount in _mounts(_services()[name]) if mount[0] == script]
    assert targets == _orthanc()["LuaScripts"]


@pytest.mark.pacs
def test_orthanc_starts_with_the_mounted_configuration(
    start_orthanc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORTHANC_PASSWORD", "of-the-test")
    options = _orthanc()
    for key in ("StorageDirectory", "IndexDirectory", "LuaScripts", "DicomPort", "AuthenticationEnabled"):
        del options[key]  # paths and ports of the container, and a password that the test does not send
    orthanc: Orthanc = start_orthanc(routing=Routing.ORIGINALS, **options)
    assert orthanc.rest.get("/modalities") == [NODE_ALIAS]
