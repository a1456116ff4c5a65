import hashlib
import json
import pickle
import shutil

import pytest
import safetensors.torch
import torch

from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.errors import BundleError


def edit(folder, name, change):
    """Change a JSON file of the bundle and make its manifest say so."""
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    write_manifest(folder)


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content["files"])
    path.write_text(json.dumps(content))


def edit_weights(folder, change):
    path = folder / "models" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file(change(weights), path)
    write_manifest(folder)


def refused(folder, *words):
    with pytest.raises(BundleError) as refusal:
        load_bundle(folder)
    for word in words:
        assert word in str(refusal.value)


def test_whole_bundle_is_read(bundle_folder):
    bundle = load_bundle(bundle_folder)
    assert bundle.identity.name == "chest_radiograph_denoising"
    assert bundle.identity.version == "1.2.3"
    assert bundle.identity.default_strength == 0.7
    assert bundle.clamp_sigma == 3
    assert bundle.metadata["version"] == "1.2.3"


def test_network_has_the_weights_and_learns_nothing(bundle_folder):
    bundle = load_bundle(bundle_folder)
    network = bundle.network()
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, bundle.weights[name])


def test_half_precision_weights_are_widened(bundle_folder):
    edit_weights(bundle_folder, lambda weights: {name: value.half() for name, value in weights.items()})
    assert all(value.dtype == torch.float32 for value in load_bundle(bundle_folder).network().parameters())


def test_digest_changes_with_weights_and_settings_alone(bundle_folder):
    digests = [load_bundle(bundle_folder).identity.digest]
    (bundle_folder / "docs" / "README.md").write_text("# The same model, told better\n")
    write_manifest(bundle_folder)
    assert load_bundle(bundle_folder).identity.digest == digests[0]
    edit(
        bundle_folder,
        "configs/metadata.json",
        lambda content: content["dae_pacs"].update(default_strength=0.6),
    )
    digests.append(load_bundle(bundle_folder).identity.digest)
    edit_weights(bundle_folder, lambda weights: {name: value + 1e-3 for name, value in weights.items()})
    digests.append(load_bundle(bundle_folder).identity.digest)
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_a_copy_elsewhere_has_the_same_digest(bundle_folder, tmp_path):
    shutil.copytree(bundle_folder, tmp_path / "copy" / bundle_folder.name)
    copied = load_bundle(tmp_path / "copy" / bundle_folder.name)
    assert copied.identity == load_bundle(bundle_folder).identity


def test_manifest_lists_every_file_but_itself_and_hidden_ones(bundle_folder):
    (bundle_folder / ".cache").write_text("x")
    write_manifest(bundle_folder)
    files = json.loads((bundle_folder / "manifest.json").read_text())["files"]
    assert sorted(files) == [
        "LICENSE",
        "configs/metadata.json",
        "configs/network.json",
        "docs/README.md",
        "models/model.safetensors",
    ]
    license_bytes = (bundle_folder / "LICENSE").read_bytes()
    assert files["LICENSE"]["sha256"] == hashlib.sha256(license_bytes).hexdigest()


def test_no_folder_is_refused(tmp_path):
    refused(tmp_path / "nothing", "manifest.json", "can't be read")


@pytest.mark.parametrize(
    "name", ["configs/metadata.json", "configs/network.json", "models/model.safetensors", "LICENSE"]
)
def test_missing_file_is_refused(bundle_folder, name):
    (bundle_folder / name).unlink()
    refused(bundle_folder, name, "can't be read")


def test_manifest_without_safetensors_is_refused(bundle_folder):
    (bundle_folder / "models" / "model.pt").write_bytes(pickle.dumps({}))
    (bundle_folder / "models" / "model.safetensors").unlink()
    edit_manifest(bundle_folder, lambda files: files.pop("models/model.safetensors"))
    refused(bundle_folder, "does not list models/model.safetensors", "never from a pickle")
    with pytest.raises(BundleError, match="is missing"):
        write_manifest(bundle_folder)


@pytest.mark.parametrize(
    "name", ["configs/metadata.json", "configs/network.json", "models/model.safetensors", "docs/README.md"]
)
def test_any_changed_byte_is_refused(bundle_folder, name):
    path = bundle_folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(bundle_folder, name, "is not what manifest.json says")


def test_pickle_under_the_name_of_safetensors_is_refused(bundle_folder):
    (bundle_folder / "models" / "model.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}))
    write_manifest(bundle_folder)
    refused(bundle_folder, "no valid safetensors")


@pytest.mark.parametrize(
    "name",
    ["../outside.json", "/etc/passwd", "configs/../../outside.json", "a\\b", ".", "./LICENSE", "a//b", ""],
)
def test_paths_that_leave_the_bundle_are_refused(bundle_folder, name):
    (bundle_folder.parent / "outside.json").write_text("{}")
    entry = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    edit_manifest(bundle_folder, lambda files: files.update({name: entry}))
    refused(bundle_folder, "is no plain path inside the bundle")


@pytest.mark.parametrize("name", ["LICENSE", "models/model.safetensors", "configs"])
def test_links_are_refused(bundle_folder, name):
    target = bundle_folder.parent / "elsewhere"
    (bundle_folder / name).rename(target)
    (bundle_folder / name).symlink_to(target)
    refused(bundle_folder, "link")
    with pytest.raises(BundleError, match=r"link|missing"):
        write_manifest(bundle_folder)


def test_linked_manifest_is_refused(bundle_folder):
    target = bundle_folder.parent / "elsewhere"
    (bundle_folder / "manifest.json").rename(target)
    (bundle_folder / "manifest.json").symlink_to(target)
    refused(bundle_folder, "manifest.json", "link")


def test_folder_in_the_place_of_a_file_is_refused(bundle_folder):
    (bundle_folder / "LICENSE").unlink()
    (bundle_folder / "LICENSE").mkdir()
    refused(bundle_folder, "LICENSE is no regular file")


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "[]", '{"format": 2, "files": {}}', '{"format": 1, "files": []}', "[" * 100_000, "\x00"],
)
def test_broken_manifest_is_refused(bundle_folder, text):
    (bundle_folder / "manifest.json").write_text(text)
    refused(bundle_folder, "manifest.json")


@pytest.mark.parametrize(
    "entry", [None, [], {}, {"bytes": "2", "sha256": "x"}, {"bytes": True, "sha256": "x"}]
)
def test_broken_manifest_entry_is_refused(bundle_folder, entry):
    edit_manifest(bundle_folder, lambda files: files.update({"LICENSE": entry}))
    refused(bundle_folder, "LICENSE needs 'bytes'")


def test_oversized_json_is_refused_before_it_is_read(bundle_folder):
    (bundle_folder / "manifest.json").write_bytes(b" " * ((1 << 20) + 1))
    refused(bundle_folder, "expected at most 1048576")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda network: network.update(_target_="os.system"), "os.system"),
        (lambda network: network.update(channels="$[8, 16]"), "expression"),
        (lambda network: network.update(bias=True), "unknown argument 'bias'"),
        (lambda network: network.update(features=4), "do not fit"),
        (lambda network: network.update(channels=[1024] * 6, strides=[2] * 5), "do not fit"),
    ],
)
def test_network_that_is_not_ours_is_refused(bundle_folder, change, word):
    edit(bundle_folder, "configs/network.json", change)
    refused(bundle_folder, word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda content: content.pop("version"), "version is None"),
        (lambda content: content.update(version=" "), "version is ' '"),
        (lambda content: content.pop("dae_pacs"), "no object 'dae_pacs'"),
        (lambda content: content["dae_pacs"].pop("clamp_sigma"), "clamp_sigma is None"),
        (lambda content: content["dae_pacs"].update(clamp_sigma=11), "clamp_sigma is 11"),
        (lambda content: content["dae_pacs"].update(clamp_sigma=float("nan")), "clamp_sigma is nan"),
        (lambda content: content["dae_pacs"].update(default_strength=1.5), "default_strength is 1.5"),
        (lambda content: content["dae_pacs"].update(default_strength=True), "default_strength is True"),
        (lambda content: content["dae_pacs"].update(default_strength="$1"), "default_strength is '$1'"),
    ],
)
def test_metadata_out_of_bounds_are_refused(bundle_folder, change, word):
    edit(bundle_folder, "configs/metadata.json", change)
    refused(bundle_folder, word)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bundle_folder, value):
    def poison(weights):
        weights["head.weight"][0, 0] = value
        return weights

    edit_weights(bundle_folder, poison)
    refused(bundle_folder, "head.weight holds values that are not finite")


def test_weights_of_another_network_are_refused(bundle_folder):
    edit_weights(bundle_folder, lambda weights: {f"x.{name}": value for name, value in weights.items()})
    refused(bundle_folder, "do not fit", "same training run")


def test_whole_number_weights_are_refused(bundle_folder):
    edit_weights(bundle_folder, lambda weights: {name: value.int() for name, value in weights.items()})
    refused(bundle_folder, "floating-point")
