"""What is told of the device that a model runs on."""

import pytest

from dae_pacs.denoise.device import device_state
from dae_pacs.errors import ServiceError


def test_a_cpu_has_a_name_and_no_memory_of_its_own():
    state = device_state("cpu")
    assert (state.name, state.used_bytes, state.total_bytes) == ("cpu", 0, 0)


def test_a_device_that_is_not_there_is_told_in_words():
    with pytest.raises(ServiceError, match="cuda:99"):
        device_state("cuda:99")


@pytest.mark.gpu
def test_a_gpu_tells_its_name_and_its_memory():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    held = torch.zeros(1 << 24, device="cuda")
    state = device_state("cuda")
    assert state.name == torch.cuda.get_device_name()
    assert state.total_bytes > state.used_bytes >= held.numel() * 4
    assert state.peak_bytes >= state.used_bytes
    assert state.free_bytes > 0
