"""The house itself: what the wheel carries, what is pinned, what the documents claim."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import distributions
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def _declared() -> dict[str, Requirement]:
    project = PYPROJECT["project"]
    texts = [*project["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    for extra in project["optional-dependencies"].values():
        texts += extra
    requirements = [Requirement(text) for text in texts]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def _pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in pairs}


def test_constraints_pin_every_declared_dependency_within_its_range() -> None:
    pinned = _pinned()
    for name, requirement in _declared().items():
        assert name in pinned, f"{name} is declared in pyproject.toml and not pinned in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} does not allow {pinned[name]}"


def test_constraints_pin_whatever_the_set_up_installed() -> None:
    if not (ROOT / ".venv" / ".set-up").is_file() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("this environment was not made by tools/set-up.sh")
    # Not wherever Python looks: Ray, once imported, adds a folder of its own packages to that.
    here = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    installed = {canonicalize_name(found.name) for found in distributions(path=here)}
    # venv brings setuptools or not, as the interpreter has it.
    assert installed - {"dae-pacs", "setuptools"} <= set(_pinned())


def test_constraints_name_no_local_builds() -> None:
    assert not [version for version in _pinned().values() if "+" in version]


def test_every_declared_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text().lower()
    named = {canonicalize_name(name) for name in re.findall(r"[a-z0-9][a-z0-9_.-]*[a-z0-9]", reasons)}
    assert set(_declared()) <= named


def test_models_and_recipes_hold_no_python() -> None:
    assert not [path for folder in ("models", "training") for path in (ROOT / folder).rglob("*.py")]


BROAD = {
    "dimse/reception.py": "one object",
    "node/worker.py": "one job",
    "node/delivery.py": "one round of sending",
    "node/pulling.py": "one round of pulling",
    "node/desk.py": "one request of the console",
    "cluster/bench.py": "one batch",
}
"""Where whatever comes is caught, around what (docs/decisions.md says why)."""


def test_whatever_comes_is_caught_in_six_places_and_each_says_why() -> None:
    package = ROOT / "dae_pacs"
    found = {}
    for path in sorted(package.rglob("*.py")):
        lines = path.read_text().splitlines()
        for before, line in pairwise(lines):
            if re.match(r"\s*except( Exception\b.*)?:", line):
                assert before.lstrip().startswith("#"), f"{path}: no comment says why: {line.strip()}"
                found[path.relative_to(package).as_posix()] = line
    assert set(found) == set(BROAD)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_carries_package_models_recipes_and_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"dae_pacs"}
    for folder in ("models", "training"):
        beside = {path.relative_to(ROOT).as_posix() for path in _tracked_files(ROOT / folder)}
        assert {f"dae_pacs/{name}" for name in beside} <= names
    assert {
        "dae_pacs/py.typed",
        "dae_pacs/demo/auto-route.lua",
        "dae_pacs/config/sample.toml",
        "dae_pacs/spool/schema.sql",
    } <= names
    web = {path.relative_to(ROOT).as_posix() for path in _tracked_files(ROOT / "dae_pacs" / "web")}
    assert {name for name in web if not name.endswith(".pyc")} <= names


def _tracked_files(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def test_installed_wheel_finds_its_bundles(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "from dae_pacs import resources as r;"
        "print(r.models_folder(), r.recipes_folder(), r.find_bundle('xray_radiograph_denoising'), sep='\\n')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    found = answer.stdout.splitlines()
    inside = tmp_path / "dae_pacs"
    models = inside / "models"
    assert found == [str(models), str(inside / "training"), str(models / "xray_radiograph_denoising")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        commands = re.findall(r"(?:^|`|&& )make ([a-z]+)", document.read_text(), flags=re.MULTILINE)
        assert set(commands) <= targets, document.name


@pytest.mark.parametrize("script", ["tools/set-up.sh", "tools/install-debian.sh", ".ci/run"])
def test_shell_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
