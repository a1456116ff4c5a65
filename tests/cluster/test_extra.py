"""Where Ray is not installed, or the cluster not there: words, before anything is lost."""

import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

from dae_pacs.cluster import extra
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.config.model import ModelSettings, NodeSettings, Settings
from dae_pacs.errors import ClusterError
from dae_pacs.node.lifecycle import Node

ELSEWHERE = ComputeSettings(engine="ray", address="127.0.0.1:9")


def test_without_ray_it_is_said_how_to_get_it_before_the_spool_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(
        extra, "find_spec", lambda name: None if name == "ray" else importlib.util.find_spec(name)
    )
    settings = Settings(
        node=NodeSettings(spool=tmp_path / "spool", port=0), model=ModelSettings(), compute=ELSEWHERE
    )
    with pytest.raises(ClusterError, match=r"pip install 'dae-pacs\[cluster\]'"):
        Node(settings)
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"engine": "ray"}, "no cluster"),
        ({"engine": "ray", "address": "head"}, "is no address of a cluster"),
        ({"engine": "ray", "address": "head:0"}, "is no address of a cluster"),
        ({"namespace": "a b"}, "is no name"),
        ({"worker_cpus": 0}, "greater than 0"),
        ({"engine": "dask"}, "'local' or 'ray'"),
    ],
)
def test_settings_that_can_t_work_are_told(given, words):
    with pytest.raises(ValidationError, match=words):
        ComputeSettings(**given)


def test_node_and_its_settings_cost_neither_ray_nor_torch():
    modules = "dae_pacs.node.lifecycle, dae_pacs.cluster.denoiser"
    code = f"import sys, {modules}; print({{'ray', 'torch'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "set()"
