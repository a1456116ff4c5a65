"""One reader for every format, the node's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import LoadImage
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import InputError
from dae_pacs.image import files, pixels
from dae_pacs.learn.reader import LoadFramed, PixelReader, read_frames


def test_rows_stay_rows(make_picture) -> None:
    path = make_picture("wide.png", rows=40, columns=60)
    frames = read_frames(path)
    assert frames.values.shape == frames.keep.shape == (1, 40, 60)
    np.testing.assert_array_equal(frames.values[0], np.asarray(Image.open(path), dtype=np.float32))


def test_dicom_is_decoded_as_the_node_decodes_it() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    np.testing.assert_array_equal(read_frames(path).values, pixels.decode(files.read(path)).values)


# MONAI's LoadImage tries every reader of its own before it takes ours, and one of them wants a GPU library.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
def test_monai_loads_through_our_reader(make_picture) -> None:
    path = make_picture("wide.png", rows=40, columns=60)
    loaded = LoadImage(reader=PixelReader(), image_only=True)(str(path))
    assert loaded.shape == (1, 40, 60)
    np.testing.assert_array_equal(np.asarray(loaded), read_frames(path).values)


def test_a_frame_is_picked_by_its_number() -> None:
    path = Path(str(get_testdata_file("emri_small.dcm")))
    frames = read_frames(path)
    assert len(frames.values) > 3
    loaded = LoadFramed(keys="image")({"image": str(path), "frame": 3})
    assert loaded["image"].dtype == torch.float32
    assert loaded["image_keep"].dtype == torch.bool
    np.testing.assert_array_equal(loaded["image"].numpy(), frames.values[3:4])


@pytest.mark.parametrize("name", ["rtdose.dcm", "SC_rgb.dcm"])
def test_what_the_node_passes_over_is_not_trained_on(name: str) -> None:
    with pytest.raises(InputError):
        read_frames(Path(str(get_testdata_file(name))))


def test_text_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(InputError, match=r"notes\.txt"):
        read_frames(path)


def test_dicom_without_a_preamble_is_read(tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm")))
    (tmp_path / "1").write_bytes(source.read_bytes()[132:])
    np.testing.assert_array_equal(read_frames(tmp_path / "1").values, read_frames(source).values)


def test_a_file_that_is_gone_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png can't be read"):
        read_frames(tmp_path / "gone.png")
