"""Which device a model runs on, and the memory that it takes there."""

import torch

from dae_pacs.denoise.protocol import DeviceState
from dae_pacs.errors import ServiceError


def choose_device(name: str) -> torch.device:
    """Find the device that a setting means: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ServiceError: there is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if name != "auto" and (kind != "cuda" or (number and not number.isdecimal()) or name.endswith(":")):
        raise ServiceError(f"Device {name!r} is not known; expected auto, cpu, cuda or cuda:N.")
    index = int(number or 0)
    if index >= count:
        raise ServiceError(f"Device {name}: torch finds {count} GPUs here; use --device cpu.")
    return torch.device("cuda", index)


def device_state(name: str) -> DeviceState:
    """Say where a model runs, and what it takes there; a GPU that does not answer has no figures.

    Raises:
        ServiceError: there is no such device.
    """
    device = choose_device(name)
    if device.type != "cuda":
        return DeviceState("cpu")
    try:
        free, total = torch.cuda.mem_get_info(device)
        return DeviceState(
            torch.cuda.get_device_name(device),
            used_bytes=torch.cuda.memory_reserved(device),
            peak_bytes=torch.cuda.max_memory_reserved(device),
            total_bytes=total,
            free_bytes=free,
        )
    except RuntimeError:  # a GPU in trouble: the job that meets it says so
        return DeviceState(str(device))
