import sys

import numpy as np
import pytest
from PIL import Image

from dae_pacs.errors import NoiseError
from dae_pacs.noise.model import NoiseModel, affine
from dae_pacs.noise.plot import plot
from dae_pacs.noise.spectrum import gaussian_spectrum


@pytest.mark.parametrize(
    "model",
    [
        affine(gain=0.5, offset=4.0, low=0.0, high=100.0, spectrum=gaussian_spectrum(0.8), unit="HU"),
        NoiseModel(levels=(0.0,), variances=(9.0,)),
    ],
)
def test_a_model_becomes_one_picture(model, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plot(model, tmp_path / "noise.png")
    assert [path.name for path in tmp_path.iterdir()] == ["noise.png"]
    with Image.open(tmp_path / "noise.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(NoiseError, match="pip install"):
        plot(NoiseModel(levels=(0.0,), variances=(9.0,)), tmp_path / "noise.png")
    assert not list(tmp_path.iterdir())
