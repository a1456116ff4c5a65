#!/usr/bin/env bash
# Install the DICOM programs of Debian that the demo and the tests use: Orthanc (the PACS), DCMTK (the modality),
# dicom3tools (the judge of derived objects), and, for tests alone, other clients, strace and promtool.
# Where that is not possible, say what to do and go on.
set -euo pipefail

missing=()
clients=()
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v Orthanc >/dev/null || missing+=(orthanc)
command -v storescu >/dev/null || missing+=(dcmtk)
command -v dciodvfy >/dev/null || missing+=(dicom3tools)
# Some 60 MB and ten seconds together. Not every release has all of them.
command -v gdcmscu >/dev/null || clients+=(libgdcm-tools)
command -v odil >/dev/null || clients+=(odil)
command -v send_image >/dev/null || clients+=(ctn)
command -v strace >/dev/null || clients+=(strace)
# promtool, which judges figures and alerts.
command -v promtool >/dev/null || clients+=(prometheus)
# Orthanc's DICOMweb plug-in, the other side of our own.
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || clients+=(orthanc-dicomweb)
# PixelMed is small, but Java is not: only where that is here already.
if command -v java >/dev/null && [ ! -e /usr/share/java/pixelmed.jar ]; then
    clients+=(pixelmed-apps)
fi

if [ ${#missing[@]} -eq 0 ] && [ ${#clients[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # RUNLEVEL=1 keeps Debian from starting an Orthanc service of its own on ports 4242 and 8042.
    export RUNLEVEL=1
    install() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
    echo "Installing ${missing[*]} ${clients[*]} with apt-get"
    if ! apt-get update -qq; then
        echo "apt-get could not update its lists; its message stands above."
    else
        for client in "${clients[@]}"; do
            install "$client" || echo "No $client here: the test that needs it says that it skips."
        done
        # Of that one only promtool is wanted, no service that listens from the next boot on.
        case " ${clients[*]} " in *" prometheus "*) systemctl disable --quiet prometheus 2>/dev/null || true ;; esac
        if [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"; then
            exit 0
        fi
        echo "apt-get could not install them; its message stands above."
    fi
fi
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
cat <<TEXT
Not installed: ${missing[*]}
  Debian, Ubuntu:  sudo apt-get install --no-install-recommends ${missing[*]}
  elsewhere:       Orthanc from orthanc-server.com, DCMTK from dcmtk.org, dicom3tools from dclunie.com
Going on without: the demo then uses its embedded archive, and the tests that need them say that they skip.
TEXT
