#!/usr/bin/env bash
# Make .venv with everything that the demo, the tests and the trainer need, at the versions of constraints.txt.
#
# PYTHON       the interpreter to build on (default python3, 3.11 or newer)
# TORCH_BUILD  PyTorch's build: cpu (default), or a CUDA build as PyTorch's package index names it, e.g. cu128
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
torch_build="${TORCH_BUILD:-cpu}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "dae-pacs needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2
    exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv || {
    echo "$python can't make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2
    exit 1
}
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet --quiet)
echo "Setting up .venv (a few minutes, once)"
# Older pips know no dependency groups.
"${pip[@]}" install --upgrade --constraint constraints.txt pip

# On Linux for x86-64 the package index's torch is a CUDA build of several GB; a local version (+cpu) stands
# above it wherever pip can see both. Where pip does not see it by itself, PyTorch's own index has it.
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    torch="$(grep '^torch==' constraints.txt)+$torch_build"
    torch_index=()
    if ! "${pip[@]}" install --dry-run --no-deps "$torch" >/dev/null 2>&1; then
        torch_index=(--extra-index-url "https://download.pytorch.org/whl/$torch_build")
    fi
    "${pip[@]}" install --retries 1 "${torch_index[@]}" --constraint constraints.txt "$torch" ||
        echo "$torch can't be had here; going on with the build that pip finds, which may be large" >&2
fi
"${pip[@]}" install --constraint constraints.txt --editable '.[train,demo,cluster]' --group dev
tools/install-debian.sh
