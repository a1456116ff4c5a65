#!/usr/bin/env bash
# Make the environments of the peers that benchmarks/denoising.py measures against, each in its own folder:
#
#   benchmarks/peers/set-up.sh [FOLDER]       default ../peers, where benchmarks/denoising.py looks for them
#
# They are no dependency of dae-pacs: bm3d is for non-commercial use and breaks on NumPy 2.4 with a spectrum;
# careamics caps many packages. What can't be installed is said, and its rows then say so too.
set -uo pipefail
cd "$(dirname "$0")/../.."
folder="${1:-../peers}"
python="${PYTHON:-python3}"
bm3d=(bm3d==4.0.3 'numpy<2.4')
# careamics 0.3.5 caps torchvision below the one of this project's torch, and uses it to crop images alone.
careamics=(careamics==0.3.5)
careamics_needs=(torch==2.13.0 torchvision==0.28.0 'bioimageio-core>=0.9,<=0.11' 'lightning>=2.2,<=2.6.6,!=2.6.2,!=2.6.3'
    'matplotlib<=3.11.2' 'microssim<=0.0.5' 'numpy<=2.4.6' 'pydantic<=2.14.1' 'psutil' 'pyyaml<=6.0.3'
    'scikit-image<=0.26' 'tifffile<=2026.3.3' 'torchmetrics<1.9' 'zarr>=3,<4')

environment() { # NAME: make it where it is missing, with a pip that resolves
    [ -x "$folder/$1/bin/python" ] || "$python" -m venv "$folder/$1" || return 1
    "$folder/$1/bin/python" -m pip install --quiet --upgrade pip
}

mkdir -p "$folder"
environment bm3d && "$folder/bm3d/bin/python" -m pip install --quiet "${bm3d[@]}" &&
    "$folder/bm3d/bin/python" -c 'import bm3d' || echo "bm3d can't be had here" >&2
environment careamics && "$folder/careamics/bin/python" -m pip install --quiet "${careamics_needs[@]}" &&
    "$folder/careamics/bin/python" -m pip install --quiet --no-deps "${careamics[@]}" &&
    "$folder/careamics/bin/python" -c 'import careamics' || echo "careamics can't be had here" >&2
