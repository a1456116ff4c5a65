"""Train CAREamics' Noise2Void on noisy images and denoise others, in its own environment (set-up.sh).

    python careamics_peer.py TRAINING TEST OUTPUT [--steps 1000] [--n2v2] [--rate 0.0004]

Reads TRAINING/*.npy and TEST/*.npy, (rows, columns) float32; writes OUTPUT/NAME.npy for each of TEST, and
prints what it ran with.
"""

import argparse
import logging
import warnings
from pathlib import Path
from time import monotonic

import numpy as np
import torch

torch.library.Library("torchvision", "FRAGMENT").define(
    # torchvision built for CUDA can't load its operators beside a CPU torch; it registers this one on import.
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
)
import careamics  # noqa: E402
from careamics.config.factories.n2v_factory import create_advanced_n2v_config  # noqa: E402


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("training", "test", "output"):
        options.add_argument(name, type=Path)
    options.add_argument("--steps", type=int, default=1000)
    options.add_argument("--n2v2", action="store_true", help="the later variant, without skips and artefacts")
    options.add_argument("--patch-px", type=int, default=96)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--rate", type=float, default=4e-4)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--precision", default="bf16-mixed")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    images = [np.load(path) for path in sorted(given.training.glob("*.npy"))]
    epochs = 10
    config = create_advanced_n2v_config(
        experiment_name="n2v",
        data_type="array",
        axes="YX",
        patch_size=[given.patch_px, given.patch_px],
        batch_size=given.batch,
        num_epochs=epochs,
        num_steps=max(1, given.steps // epochs),
        use_n2v2=given.n2v2,
        optimizer_params={"lr": given.rate},
        num_workers=0,
        trainer_params={"accelerator": "cpu", "precision": given.precision, "enable_model_summary": False},
        seed=given.seed,
    )
    given.output.mkdir(parents=True, exist_ok=True)
    trained = careamics.CAREamist(config, work_dir=given.output / "work", enable_progress_bar=False)
    start = monotonic()
    trained.train(train_data=images)
    seconds = monotonic() - start
    for path in sorted(given.test.glob("*.npy")):
        (denoised,), _ = trained.predict(np.load(path), batch_size=1)
        np.save(given.output / path.name, np.asarray(denoised, dtype=np.float32).squeeze())
    parameters = sum(weight.numel() for weight in trained.model.parameters())
    variant = "N2V2" if given.n2v2 else "N2V"
    steps = f"{epochs} epochs of {max(1, given.steps // epochs)} steps of {given.batch} patches"
    print(
        f"careamics {careamics.__version__}, {variant}, its own U-Net of {parameters / 1e6:.2f} M parameters "
        f"and masking; {steps} of {given.patch_px} px, Adam at {given.rate:g}, {given.precision}, "
        f"{given.threads} thread, {seconds:.0f} s."
    )


if __name__ == "__main__":
    main()
