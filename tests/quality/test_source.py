from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import InputError
from dae_pacs.image import files
from dae_pacs.image.pixels import decode
from dae_pacs.quality.source import open_source


def test_dicom_is_read_in_its_unit_and_settles_on_stored_steps():
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    source = open_source(path, is_dicom=True)
    plane = source.read(0)
    assert (source.count, plane.modality, plane.unit) == (1, "CT", "HU")
    np.testing.assert_array_equal(plane.values, decode(files.read(path)).values[0])
    np.testing.assert_array_equal(plane.settle(plane.values), plane.values)
    settled = plane.settle(plane.values + np.float32(0.4))
    np.testing.assert_array_equal(settled, plane.values)


def test_picture_settles_as_its_file_would(tmp_path):
    cells = np.random.default_rng(0).integers(50, 200, (40, 48), dtype=np.uint8)
    Image.fromarray(cells).save(tmp_path / "a.png")
    plane = open_source(tmp_path / "a.png", is_dicom=False).read(0)
    assert (plane.modality, plane.unit, plane.window) == ("picture", "grey", None)
    np.testing.assert_array_equal(plane.settle(plane.values + np.float32(3.3)), plane.values + 3)


def test_volume_has_its_slices(tmp_path):
    voxels = np.arange(4 * 20 * 24, dtype=np.int16).reshape(4, 20, 24)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "v.nii.gz"))
    source = open_source(tmp_path / "v.nii.gz", is_dicom=False)
    plane = source.read(2)
    assert source.count == 4
    np.testing.assert_array_equal(plane.values, voxels[2])
    np.testing.assert_array_equal(plane.settle(plane.values + np.float32(0.2)), voxels[2])


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.raises(InputError):
        open_source(tmp_path / "a.png", is_dicom=False).read(0)
