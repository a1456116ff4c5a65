import numpy as np
import pytest
import SimpleITK as sitk

from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image import volume


def a_volume(path, dtype=np.int16, shape=(3, 20, 24)):
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(-500, 500, shape).astype(dtype))
    image.SetSpacing((0.7, 0.8, 5.0)[: image.GetDimension()])
    image.SetOrigin((-120.0, -110.0, 33.5)[: image.GetDimension()])
    sitk.WriteImage(image, str(path))
    return image


@pytest.mark.parametrize("suffix", volume.SUFFIXES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_unchanged_values_come_back_exactly_and_in_place(tmp_path, suffix, dtype):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    before = a_volume(source, dtype)
    read = volume.read(source)
    volume.write(read, read.values, target)
    after = sitk.ReadImage(str(target))
    assert np.array_equal(sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(after))
    assert after.GetPixelID() == before.GetPixelID()
    assert np.allclose(after.GetSpacing(), before.GetSpacing())
    assert np.allclose(after.GetOrigin(), before.GetOrigin())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in{suffix}", f"out{suffix}"]


def test_changed_values_are_rounded_and_clipped_to_the_type(tmp_path):
    a_volume(tmp_path / "in.mha")
    read = volume.read(tmp_path / "in.mha")
    values = read.values + np.float32(0.6)
    values[0, 0, 0] = 1e6
    volume.write(read, values, tmp_path / "out.mha")
    stored = volume.read(tmp_path / "out.mha").stored
    free = ~read.keep
    free[0, 0, 0] = False
    assert np.array_equal(stored[free], read.stored[free] + 1)
    assert stored[0, 0, 0] == (read.stored[0, 0, 0] if read.keep[0, 0, 0] else 32767)


def test_plane_picture_stays_a_plane(tmp_path):
    a_volume(tmp_path / "in.nrrd", shape=(20, 24))
    read = volume.read(tmp_path / "in.nrrd")
    assert read.values.shape == (1, 20, 24)
    volume.write(read, read.values, tmp_path / "out.nrrd")
    assert sitk.ReadImage(str(tmp_path / "out.nrrd")).GetSize() == (24, 20)


def test_broken_file_is_told_by_name(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    with pytest.raises(PixelError, match=r"broken\.nii\.gz"):
        volume.read(tmp_path / "broken.nii.gz")


def test_vectors_are_refused(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((4, 8, 8, 3), np.float32), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "vectors.mha"))
    with pytest.raises(UnsupportedImageError, match="3 values a voxel"):
        volume.read(tmp_path / "vectors.mha")
