"""The real images of the demo; they come with the package pydicom-data, so that no network is needed."""

from dataclasses import dataclass
from pathlib import Path

from pydicom.data import get_testdata_file

from dae_pacs.errors import InputError


@dataclass(frozen=True)
class DemoImage:
    """One image that the demo sends."""

    name: str
    """What to call it, in the table and in file names."""
    path: Path


NAMES = {
    "chest": "RG1_UNCR.dcm",  # computed radiograph, NEMA WG04
    "leg": "RG3_UNCR.dcm",  # computed radiograph, NEMA WG04
    "head": "693_UNCR.dcm",  # CT slice
}


def demo_images() -> list[DemoImage]:
    """Find the demo's images on this machine.

    Raises:
        InputError: they are not installed.
    """
    images = []
    for name, file_name in NAMES.items():
        found = get_testdata_file(file_name, download=False)
        if found is None:
            raise InputError(
                f"The demo's image {file_name} is not here: it comes with the package pydicom-data. "
                "Install it with: pip install 'dae-pacs[demo]'"
            )
        images.append(DemoImage(name, Path(str(found))))
    return images
