"""Distinct grey objects, derived once for all judges; the benchmark judges every one at hand."""

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header
from dae_pacs.image.stored import transfer_syntax

LARGE_PIXELS = 600_000
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "judges.py"


@pytest.fixture(scope="session")
def judging() -> ModuleType:
    """Load the benchmark, which asks the same judges the same questions."""
    spec = importlib.util.spec_from_file_location("judges_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pairs(judging: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Each source with its derived object of strength 0: `Pair`s of the benchmark."""
    folder = tmp_path_factory.mktemp("pairs")
    objects = [*sampled(judging.grey_objects()), *judging.write_synthetic(folder)]
    return list(judging.make_pairs(folder, objects))


def sampled(objects: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    """Leave out large objects when one of their class and transfer syntax is among them already."""
    seen = set()
    for name, path in objects:
        try:
            with path.open("rb") as file:
                ds = read_header(file)
            sides = [peek.integer(ds, side) or 1 for side in ("Rows", "Columns", "NumberOfFrames")]
        except InputError:
            continue
        kind = peek.string(ds, "SOPClassUID"), transfer_syntax(ds)
        if math.prod(sides) <= LARGE_PIXELS or kind not in seen:
            yield name, path
        if math.prod(sides) > LARGE_PIXELS:
            seen.add(kind)


@pytest.fixture
def image(judging: ModuleType) -> Callable[..., Dataset]:
    """Make a small CR; keywords set elements."""

    def make(**elements: Any) -> Dataset:
        ds = judging.synthetic("1", "CR", ("ORIGINAL", "PRIMARY"))
        for name, value in elements.items():
            setattr(ds, name, value)
        return ds

    return make
