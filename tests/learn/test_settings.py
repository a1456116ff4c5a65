"""What a run takes of the machine that it finds."""

import pytest

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import Data
from dae_pacs.learn.settings import Machine, cache_share, look, overrides


def test_a_cpu_is_used_whole_and_in_bfloat16_where_it_has_it() -> None:
    plain = overrides(Machine(device="cpu", threads=6, has_bf16=False, free_bytes=1))
    fast = overrides(Machine(device="cpu", threads=6, has_bf16=True, free_bytes=1))
    assert plain["threads"] == 6
    assert plain["device"] == "$torch.device('cpu')"
    assert "inferer" not in plain
    assert fast["inferer"] == {"_target_": "dae_pacs.learn.network.ReducedPrecisionInferer"}


def test_a_gpu_gets_more_at_a_time_and_leaves_the_precision_to_amp() -> None:
    chosen = overrides(Machine(device="cuda:1", threads=16, has_bf16=True, free_bytes=1))
    assert chosen["batch_images"] > 2
    assert chosen["workers"] == 8
    assert "inferer" not in chosen


def test_a_device_that_is_not_there_is_refused() -> None:
    assert look("cpu").device == "cpu"
    for name in ("cuda:99", "gpu", "cuda:x", "cpu:1"):
        with pytest.raises(TrainingError, match=r"--device cpu|expected auto, cpu"):
            look(name)


def test_what_fits_into_half_of_the_memory_is_kept() -> None:
    def data(pixels: int) -> Data:
        return Data(training=({"image": "a", "pixels": pixels},), validation=(), problems=())

    assert cache_share(data(1000)) == 1.0
    assert cache_share(data(10**15)) == 0.0
    assert look("cpu").free_bytes > 0
