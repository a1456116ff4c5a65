import numpy as np

from dae_pacs.learn.edges import strong_edges
from dae_pacs.learn.simulate import SimulateNoised


def test_edges_are_as_high_as_asked_and_leave_flat_sides():
    for seed in range(20):
        drawn = strong_edges((64, 48), np.random.default_rng(seed), heights=(100, 200))
        assert drawn.shape == (64, 48)
        assert drawn.dtype == np.float32
        assert np.abs(drawn).max() <= 3 * 200
        steps = np.abs(np.diff(drawn, axis=1))
        assert np.median(steps) < 5, "most of it is flat"


def test_edges_go_on_both_images_of_a_pair_and_leave_the_noise_alone():
    reference = np.full((1, 64, 64), 0.5, np.float32)
    transform = SimulateNoised("image", clean_share=0.0, edge_share=1.0, edge_sigmas=(500, 1000))
    transform.set_random_state(3)
    made = transform({"image": reference})
    noise = (made["image"] - made["label"]).numpy()
    assert float(made["label"].max() - made["label"].min()) > 400
    assert 0.3 < float(noise.std()) < 3


def test_without_a_share_nothing_is_drawn():
    transform = SimulateNoised("image", edge_share=0.0)
    transform.set_random_state(3)
    made = transform({"image": np.full((1, 32, 32), 0.5, np.float32)})
    assert float(made["label"].max() - made["label"].min()) == 0
