import pytest

from dae_pacs.node import devices
from dae_pacs.node.devices import workers_on


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 0, ("auto",)),
        ("auto", 1, ("auto",)),
        ("auto", 3, ("cuda:0", "cuda:1", "cuda:2")),
        ("cuda", 2, ("cuda:0", "cuda:1")),
        ("cuda:1", 4, ("cuda:1",)),
        ("cpu", 4, ("cpu",)),
    ],
)
def test_each_gpu_that_was_not_left_out_gets_a_worker(device, gpus, expected):
    assert workers_on(device, count=lambda: gpus) == expected


def test_nobody_is_asked_where_the_driver_lists_no_second_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr(devices, "_QUESTION", "raise SystemExit(1)")
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()

    assert workers_on("auto") == ("auto",)


def test_torch_is_asked_where_the_driver_lists_several(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr(devices, "_QUESTION", "print(2)")  # what torch says on such a machine
    for name in ("nvidia0", "nvidia1", "nvidia2"):
        (tmp_path / name).touch()

    assert workers_on("auto") == ("cuda:0", "cuda:1")


def test_one_device_is_used_where_torch_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr(devices, "_QUESTION", "raise SystemExit(1)")
    for name in ("nvidia0", "nvidia1"):
        (tmp_path / name).touch()

    assert workers_on("auto") == ("auto",)
