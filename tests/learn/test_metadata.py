"""What a bundle says of itself is what MONAI reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from monai.bundle import verify_metadata, verify_net_in_out

from dae_pacs.learn.metadata import metadata

ROOT = Path(__file__).resolve().parents[2]
ASKED = {
    "schema": str, "version": str, "monai_version": str, "pytorch_version": str, "numpy_version": str,
    "required_packages_version": dict, "task": str, "description": str, "authors": str, "copyright": str,
    "network_data_format": dict,
}  # fmt: skip
"""Fields that MONAI's bundle specification asks for (docs, mb_specification, "metadata.json File")."""
OF_A_TENSOR = {
    "type": str,
    "format": str,
    "num_channels": int,
    "spatial_shape": list,
    "dtype": str,
    "value_range": list,
}


@dataclass(frozen=True)
class Facts:
    name: str = "clinic_dx"
    version: str = "1.2.3"
    description: str = "Removes noise."
    author: str = "The clinic"


def bundles() -> list[Path]:
    return sorted(path.parents[1] for path in (ROOT / "models").glob("*/configs/metadata.json"))


@pytest.mark.parametrize("made", [None, *bundles()], ids=lambda made: made.name if made else "fresh")
def test_every_field_that_the_specification_asks_for_is_there(made: Path | None) -> None:
    told = json.loads((made / "configs" / "metadata.json").read_text()) if made else metadata(Facts())
    assert {name: type(told.get(name)) for name in ASKED} == ASKED
    for side, tensor in (("inputs", "image"), ("outputs", "pred")):
        described = told["network_data_format"][side][tensor]
        assert {name: type(described[name]) for name in OF_A_TENSOR} == OF_A_TENSOR


def test_the_network_takes_and_gives_what_the_metadata_say(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "metadata.json").write_text(json.dumps(metadata(Facts())))
    small = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}
    (tmp_path / "network.json").write_text(
        json.dumps({"network_def": {"_target_": "dae_pacs.denoise.network.DenoisingUNet", **small}})
    )
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(tmp_path / "metadata.json"),
        config_file=str(tmp_path / "network.json"),
        device="cpu",
        n=4,
    )


@pytest.mark.parametrize("made", [None, *bundles()], ids=lambda made: made.name if made else "fresh")
def test_monais_own_schema_is_met(made: Path | None, shared_data: Path, tmp_path: Path) -> None:
    schema = shared_data.parent / "monai" / "meta_schema_20240725.json"
    if not schema.is_file():
        pytest.skip("../shared/monai/meta_schema_20240725.json is not here, and MONAI would download it")
    path = made / "configs" / "metadata.json" if made else tmp_path / "metadata.json"
    if not made:
        path.write_text(json.dumps(metadata(Facts())))
    verify_metadata(meta_file=str(path), filepath=str(schema))
