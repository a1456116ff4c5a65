#!/usr/bin/env bash
# Install the DICOM programs of Debian that the demo and the tests use: Orthanc (the PACS), DCMTK (the modality)
# and dicom3tools (the judge of derived objects). Where that is not possible, say what to do and go on.
set -euo pipefail

missing=()
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v Orthanc >/dev/null || missing+=(orthanc)
command -v storescu >/dev/null || missing+=(dcmtk)
command -v dciodvfy >/dev/null || missing+=(dicom3tools)

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing ${missing[*]} with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    # RUNLEVEL=1 keeps Debian from starting an Orthanc service of its own on ports 4242 and 8042.
    export RUNLEVEL=1
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
        exit 0
    fi
    echo "apt-get could not install them; its message stands above."
fi
cat <<TEXT
Not installed: ${missing[*]}
  Debian, Ubuntu:  sudo apt-get install --no-install-recommends ${missing[*]}
  elsewhere:       Orthanc from orthanc-server.com, DCMTK from dcmtk.org, dicom3tools from dclunie.com
Going on without: the demo then uses its embedded archive, and the tests that need them say that they skip.
TEXT
