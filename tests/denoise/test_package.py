"""Bundles from outside: what is wrong is refused, and nothing of it is written, opened or run."""

import hashlib
import json
import os
import pickle
import stat
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.denoise.manifest import bundle_digest
from dae_pacs.denoise.package import MAX_TOTAL_BYTES

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from intruder import NAME, OPENED, WEIGHTS, Bomb, refused, zipped


@pytest.mark.usefixtures("_watched")
def test_the_watch_sees_what_is_opened_and_run(tmp_path: Path) -> None:
    OPENED.clear()
    (tmp_path / "outside").touch()
    os.system("true")
    assert any("outside" in line for line in OPENED)
    assert any(line.startswith("os.system") for line in OPENED)


BAD_NAMES = [
    "../canary", "/etc/cron.d/canary", "configs/../../canary", "configs\\..\\canary", "C:canary.json",
    "a//b.json", "./x.json", "configs/./x.json", "con\nfigs/x.json", "a/b/c/d/e/f.json",
    "configs/x.json\x00.png", " x.json", "configs/-rf.json", ".hidden.json",
    "configs/ünïcode.json", "x" * 200 + ".json",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere_are_refused(
    bundle_folder: Path, site: Path, canary: Path, name: str
) -> None:
    archive = zipped(bundle_folder, inside="")
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.orig_filename = name
        file.writestr(info, b"{}")
    refused(archive, site, "bundle.zip", name=NAME)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (stat.S_IFLNK, "a link"),
        (stat.S_IFBLK, "a device"),
        (stat.S_IFCHR, "a device"),
        (stat.S_IFIFO, "pipe"),
    ],
)
def test_links_and_devices_in_archives_are_refused(
    bundle_folder: Path, site: Path, canary: Path, kind: int, word: str
) -> None:
    archive = zipped(bundle_folder)
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo(f"{NAME}/docs/x.md")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        file.writestr(info, str(canary.parent / "secret"))
    refused(archive, site, word)


@pytest.mark.parametrize("place", ["docs/x.md", "manifest.json", "configs", WEIGHTS])
def test_links_in_folders_are_refused_without_a_look_behind_them(
    bundle_folder: Path, site: Path, canary: Path, place: str
) -> None:
    path = bundle_folder / place
    if path.exists():
        path.rename(canary.parent.parent / "moved")
    path.symlink_to(canary.parent / "secret")
    refused(bundle_folder, site, "is a link")


def test_a_pipe_in_a_folder_is_refused_without_waiting_for_it(bundle_folder: Path, site: Path) -> None:
    os.mkfifo(bundle_folder / "docs" / "x.md")
    refused(bundle_folder, site, "pipe")


@pytest.mark.parametrize(
    ("first", "second"),
    [("docs/Note.md", "docs/note.md"), ("docs/note.md", "docs/note.md"), ("DOCS/x.md", "docs/X.md")],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_twins_are_refused(bundle_folder: Path, site: Path, first: str, second: str) -> None:
    archive = zipped(bundle_folder)
    with zipfile.ZipFile(archive, "a") as file:
        for name in (first, second):
            file.writestr(f"{NAME}/{name}", "x")
    refused(archive, site, "holds both")


@pytest.mark.parametrize("name", ["models/model.pt", "models/model.pth", "models/a.pkl", "models/model.ts"])
def test_a_pickle_is_refused_and_not_loaded(bundle_folder: Path, site: Path, canary: Path, name: str) -> None:
    (bundle_folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site, "may run code", "safetensors alone")
    refused(bundle_folder, site, "may run code")


def test_a_pickle_that_calls_itself_safetensors_is_refused(
    bundle_folder: Path, site: Path, canary: Path
) -> None:
    (bundle_folder / WEIGHTS).write_bytes(pickle.dumps(Bomb(canary)))
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site, "no valid safetensors")


@pytest.mark.parametrize(
    "name", ["configs/run.py", "docs/x.sh", "x.so", "docs/x.html", "x", ".gitattributes"]
)
def test_kinds_of_files_that_no_bundle_has_are_refused(bundle_folder: Path, site: Path, name: str) -> None:
    (bundle_folder / name).write_text("import os")
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site)


def test_files_that_the_manifest_does_not_know_are_refused(bundle_folder: Path, site: Path) -> None:
    (bundle_folder / "docs" / "more.md").write_text("more")
    refused(bundle_folder, site, "are not in its manifest.json", "docs/more.md")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"_target_": "os.system"}, "os.system"),
        ({"_target_": "torch.load"}, "torch.load"),
        ({"channels": "$import os; os.system('touch canary')"}, "expression"),
        ({"$import": "os"}, "expression"),
        ({"features": {"_target_": "os.system", "command": "touch canary"}}, "features"),
        ({"channels": [1024] * 6, "strides": [2] * 5}, "do not fit"),
        ({"features": 4}, "do not fit"),
        ({"norm": "batch"}, "unknown argument"),
    ],
)
def test_a_network_beyond_the_schema_is_refused(
    bundle_folder: Path, site: Path, canary: Path, monkeypatch, change: dict[str, object], word: str
) -> None:
    monkeypatch.chdir(canary.parent)
    path = bundle_folder / "configs" / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site, word)


def _edited(weights: dict[str, torch.Tensor], value: float) -> dict[str, torch.Tensor]:
    weights["head.weight"][0, 0] = value
    return weights


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda weights: _edited(weights, float("nan")), "not finite"),
        (lambda weights: _edited(weights, float("inf")), "not finite"),
        (lambda weights: weights | {"extra": torch.zeros(1)}, "do not fit"),
        (lambda weights: dict(list(weights.items())[1:]), "do not fit"),
        (lambda weights: weights | {"head.weight": torch.zeros(1, 3, 1, 1)}, "do not fit"),
        (lambda weights: {name: value.to(torch.int8) for name, value in weights.items()}, "floating-point"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    bundle_folder: Path, site: Path, edit: Callable[..., dict[str, torch.Tensor]], word: str
) -> None:
    path = bundle_folder / WEIGHTS
    safetensors.torch.save_file(edit(safetensors.torch.load_file(path)), path)
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site, word)


@pytest.mark.parametrize("announced", [1 << 21, 1 << 40, (1 << 64) - 1])
def test_a_huge_header_of_the_weights_is_refused(bundle_folder: Path, site: Path, announced: int) -> None:
    path = bundle_folder / WEIGHTS
    path.write_bytes(struct.pack("<Q", announced) + path.read_bytes()[8:])
    write_manifest(bundle_folder)
    refused(zipped(bundle_folder), site, "its header announces")


def test_a_manifest_that_does_not_match_is_refused(bundle_folder: Path, site: Path) -> None:
    content = bytearray((bundle_folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (bundle_folder / WEIGHTS).write_bytes(content)
    refused(zipped(bundle_folder), site, "is not what manifest.json says")


def test_a_bomb_is_refused_by_what_it_announces(bundle_folder: Path, site: Path) -> None:
    archive = zipped(bundle_folder)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        for number in range(3):
            info = zipfile.ZipInfo(f"{NAME}/docs/{number}.md")
            file.writestr(info, b"x")
            file.getinfo(info.filename).file_size = MAX_TOTAL_BYTES // 2
    refused(archive, site, f"at most 200 files and {MAX_TOTAL_BYTES} bytes")


def test_a_bomb_that_announces_little_is_cut_off(bundle_folder: Path, site: Path) -> None:
    big = b"0" * (3 << 20)
    entry = {"bytes": len(big), "sha256": hashlib.sha256(big).hexdigest()}
    (bundle_folder / "configs" / "noise.json").write_bytes(big)
    manifest = json.loads((bundle_folder / "manifest.json").read_text())
    manifest["files"]["configs/noise.json"] = entry
    (bundle_folder / "manifest.json").write_text(json.dumps(manifest))
    refused(zipped(bundle_folder), site, "is larger than 1048576")


def test_too_many_files_are_refused_before_they_are_listed(bundle_folder: Path, site: Path) -> None:
    archive = zipped(bundle_folder)
    with zipfile.ZipFile(archive, "a") as file:
        for number in range(1000):
            file.writestr(f"{NAME}/docs/{number}.md", b"")
    refused(archive, site, "1008 entries" if len(_names(archive)) == 1008 else "entries")
    for number in range(300):
        (bundle_folder / "docs" / f"{number}.md").touch()
    refused(bundle_folder, site, "a bundle has at most 200 files")


def _names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return file.namelist()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no archive at all" * 100,
        lambda content: content[: len(content) // 2],
        lambda content: content[:-10],
        lambda content: content[:40] + bytes(2000) + content[2040:],
        lambda content: content.replace(b"PK\x01\x02", b"PK\x01\x03", 1),
        lambda content: (
            content[:-22] + content[-22:].replace(b"PK\x05\x06", b"PK\x05\x06", 1)[:10] + b"\xff" * 12
        ),
    ],
)
def test_damaged_archives_are_refused_in_words(
    bundle_folder: Path, site: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = zipped(bundle_folder)
    archive.write_bytes(damage(archive.read_bytes()))
    refused(archive, site, "bundle.zip")


def test_another_compression_is_refused(bundle_folder: Path, site: Path) -> None:
    archive = zipped(bundle_folder)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_LZMA) as file:
        file.writestr(f"{NAME}/docs/x.md", b"x" * 1000)
    refused(archive, site, "packed in a way")


def test_no_bundle_and_two_bundles_are_refused(bundle_folder: Path, site: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", site, "has no manifest.json")
    archive = zipped(bundle_folder, inside="one")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("two/manifest.json", "{}")
    refused(archive, site, "has no manifest.json")
    refused(tmp_path / "nothing.zip", site, "can't be read")


def test_the_digest_costs_no_torch_and_is_the_bundle_s(bundle_folder: Path) -> None:
    assert bundle_digest(bundle_folder) == load_bundle(bundle_folder).identity.digest
