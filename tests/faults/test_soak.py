"""A short run of soak.py."""

import pytest
from soak import run


@pytest.mark.slow
def test_hundreds_of_associations_leave_nothing_behind(tmp_path):
    soak = run(tmp_path, associations=300, objects=600)
    assert soak.troubles == []
    assert soak.associations + soak.rejected == 300
    assert soak.rejected == 12
    assert soak.objects > 400
