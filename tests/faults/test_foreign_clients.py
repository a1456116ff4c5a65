"""Clients with stacks of their own store real objects: DCMTK, GDCM, odil, CTN, PixelMed, dcmjs, Orthanc.

Debian: dcmtk libgdcm-tools odil ctn pixelmed-apps orthanc; npm: dcmjs-dimse. What is not installed is skipped
with its name.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from dae_pacs.demo.orthanc import NodeAddress

pytestmark = pytest.mark.pacs

SYNTAXES = {
    "explicit": "MR_small.dcm",
    "implicit": "MR_small_implicit.dcm",
    "rle": "MR_small_RLE.dcm",
    "jpeg-ls": "MR_small_jpeg_ls_lossless.dcm",
    "jpeg-2000": "MR_small_jp2klossless.dcm",
}
"""The same radiologist's slice under five transfer syntaxes: pydicom's own files."""
JARS = Path("/usr/share/java")
PIXELMED = [
    JARS / f"{name}.jar" for name in ("pixelmed", "commons-codec", "slf4j-api", "slf4j-nop", "vecmath")
]
TIMEOUT_S = 60

Store = Callable[[int, list[Path]], None]


def run(command: list[str], **environment: str) -> None:
    """Run a client that must be content.

    Skips the test where its program is not installed.
    """
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=os.environ | environment
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]


def storescu(port: int, paths: list[Path], *options: str) -> None:
    run(["storescu", "-R", *options, "-aec", "DAE_PACS", "127.0.0.1", str(port), *map(str, paths)])


def dcmsend(port: int, paths: list[Path]) -> None:
    run(["dcmsend", "--decompress-never", "-aec", "DAE_PACS", "127.0.0.1", str(port), *map(str, paths)])


def gdcmscu(port: int, paths: list[Path]) -> None:
    """Store with GDCM's; Debian 12's (3.0.21) stores, and then aborts, whomever it calls."""
    if shutil.which("gdcmscu") is None:
        pytest.skip("gdcmscu is not installed")
    for path in paths:
        call = ["gdcmscu", "--store", "--call", "DAE_PACS", "127.0.0.1", str(port), str(path)]
        ended = subprocess.run(call, capture_output=True, check=False, timeout=TIMEOUT_S)
        assert ended.returncode in {0, -signal.SIGABRT}


def odil(port: int, paths: list[Path]) -> None:
    run(["odil", "store", "127.0.0.1", str(port), "ODIL", "DAE_PACS", *map(str, paths)])


def ctn(port: int, paths: list[Path]) -> None:
    run(["send_image", "-q", "-r", "-a", "CTN", "-c", "DAE_PACS", "127.0.0.1", str(port), *map(str, paths)])


def pixelmed(port: int, paths: list[Path]) -> None:
    if not PIXELMED[0].exists():
        pytest.skip("pixelmed-apps is not installed")
    program = ["java", "-cp", ":".join(map(str, PIXELMED)), "com.pixelmed.network.StorageSOPClassSCU"]
    for path in paths:
        run([*program, "127.0.0.1", str(port), "DAE_PACS", "PIXELMED", str(path)])


def dcmjs(port: int, paths: list[Path]) -> None:
    script = Path(__file__).with_name("store.mjs")
    found = (
        subprocess.run(
            ["node", "-e", "require.resolve('dcmjs-dimse')"],
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if shutil.which("node")
        else None
    )
    if found is None or found.returncode:
        pytest.skip("dcmjs-dimse is not installed (npm install dcmjs-dimse, NODE_PATH)")
    run(["node", str(script), str(port), *map(str, paths)])


def pynetdicom(port: int, paths: list[Path]) -> None:
    ae = AE(ae_title="PYNETDICOM")
    for path in paths:
        ds = dcmread(path)
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", port, ae_title="DAE_PACS")
    assert assoc.is_established
    assert [assoc.send_c_store(dcmread(path)).Status for path in paths] == [0x0000] * len(paths)
    assoc.release()


CLIENTS: dict[str, tuple[Store, tuple[str, ...]]] = {
    "storescu": (storescu, ("explicit",)),
    "storescu-xi": (lambda port, paths: storescu(port, paths, "-xi"), ("implicit",)),
    "storescu-xr": (lambda port, paths: storescu(port, paths, "-xr"), ("rle",)),
    "storescu-xt": (lambda port, paths: storescu(port, paths, "-xt"), ("jpeg-ls",)),
    "storescu-xv": (lambda port, paths: storescu(port, paths, "-xv"), ("jpeg-2000",)),
    "dcmsend": (dcmsend, tuple(SYNTAXES)),
    "gdcmscu": (gdcmscu, ("explicit", "implicit")),
    "odil": (odil, ("explicit", "implicit")),
    "ctn": (ctn, ("explicit", "implicit")),
    "pixelmed": (pixelmed, tuple(SYNTAXES)),
    "dcmjs": (dcmjs, ("explicit", "implicit")),
    "pynetdicom": (pynetdicom, tuple(SYNTAXES)),
}
"""Who stores what; odil and dcmjs write compressed pixels anew."""


def slices(folder: Path, *syntaxes: str) -> list[Path]:
    """Write a slice for each syntax, under a UID of its own."""
    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    for name in syntaxes:
        ds = dcmread(get_testdata_file(SYNTAXES[name]))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        paths.append(folder / f"{len(paths)}-{name}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def check_stored(gate, paths: list[Path]) -> None:
    """Each object is kept with the pixels that it was sent with, in the transfer syntax that was agreed on.

    Of an uncompressed object that is our choice, explicit VR, where the client offers both.
    """
    for path in paths:
        sent = dcmread(path)
        kept = gate.ledger.received(str(sent.SOPInstanceUID))
        assert kept is not None, path.name
        stored = dcmread(kept.path)
        syntaxes = {stored.file_meta.TransferSyntaxUID, sent.file_meta.TransferSyntaxUID}
        assert len(syntaxes) == 1 or syntaxes == {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
        assert stored.PixelData == sent.PixelData
        assert stored.PatientName == sent.PatientName


@pytest.fixture
def patient_gate(open_gate):
    """A node with deadlines for programs that need a moment."""
    slow = dict.fromkeys(
        ("association_timeout_s", "pdu_timeout_s", "dimse_timeout_s", "network_timeout_s"), 30
    )
    return open_gate(**slow)


@pytest.mark.parametrize("name", CLIENTS)
def test_objects_of_a_foreign_client_are_kept_as_they_were_sent(patient_gate, tmp_path, name):
    store, syntaxes = CLIENTS[name]
    paths = slices(tmp_path / "out", *syntaxes)
    store(patient_gate.scp.port, paths)
    check_stored(patient_gate, paths)
    patient_gate.still_works()


def test_orthanc_stores_what_it_holds(patient_gate, start_orthanc, tmp_path):
    orthanc = start_orthanc(node=NodeAddress("DAE_PACS", patient_gate.scp.port))
    paths = slices(tmp_path / "out", *SYNTAXES)
    held = [orthanc.rest.upload(path.read_bytes()) for path in paths]
    for instance in held:
        orthanc.rest.post("/modalities/dae-pacs/store", instance)
    check_stored(patient_gate, paths)
    patient_gate.still_works()


def test_foreign_clients_at_once_are_all_answered(patient_gate, tmp_path):
    stores = [CLIENTS[name][0] for name in ("storescu", "dcmsend", "odil", "ctn") if _is_here(name)]
    stores.append(pynetdicom)
    batches = [slices(tmp_path / str(number), "explicit", "explicit") for number in range(len(stores))]
    with ThreadPoolExecutor(len(stores)) as clients:
        list(
            clients.map(
                lambda pair: pair[0](patient_gate.scp.port, pair[1]), zip(stores, batches, strict=True)
            )
        )
    check_stored(patient_gate, [path for batch in batches for path in batch])


def _is_here(name: str) -> bool:
    return shutil.which({"ctn": "send_image"}.get(name, name)) is not None
