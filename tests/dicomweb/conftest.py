"""Objects to move about."""

from pathlib import Path

import pytest

from dae_pacs.demo.phantoms import Study, ct_series, write_all


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Four small CT slices of a study of their own, as files."""
    return write_all(ct_series(Study(), slices=4, size=32), tmp_path / "series")
