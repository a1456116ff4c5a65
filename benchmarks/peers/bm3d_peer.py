"""Run BM3D on stabilised images, in an environment of its own (benchmarks/peers/set-up.sh).

    python bm3d_peer.py FOLDER

For each FOLDER/NAME.npz with `z`, (rows, columns), and `power`, the noise's power at each frequency of
`numpy.fft.fft2` with a mean of 1 (or a single 1 for white noise), writes FOLDER/NAME.npy.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import bm3d
import numpy as np


def main() -> None:
    folder = Path(sys.argv[1])
    for path in sorted(folder.glob("*.npz")):
        given = np.load(path)
        z = given["z"].astype(np.float64)
        # bm3d scales a spectrum so that white noise of variance v has v · pixels everywhere.
        noise = 1.0 if given["power"].size == 1 else given["power"] * z.size
        lowest, span = z.min(), np.ptp(z)  # its examples have images of 0..1, and its thresholds are relative
        noise = noise / span if np.isscalar(noise) else noise / span**2
        cleaned = bm3d.bm3d((z - lowest) / span, noise)
        np.save(path.with_suffix(".npy"), (cleaned * span + lowest).astype(np.float32))
    print(f"bm3d {version('bm3d')}, its defaults")


if __name__ == "__main__":
    main()
