import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

Sample = Callable[[str], Path]
DataSet = Callable[[Path], bytes]


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program)
    if path is None:
        pytest.skip("Debian's dcmtk is not installed")
    return subprocess.run(
        [path, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.pacs
@pytest.mark.parametrize(
    ("program", "options"), [("storescu", ["-R"]), ("storescu", ["-R", "-xe"]), ("dcmsend", ["-dn"])]
)
def test_dcmtk_stores_what_it_read(
    node: Any, sample: Sample, data_set: DataSet, program: str, options: list[str]
) -> None:
    path = sample("CT_small.dcm")
    done = run(program, *options, "-aec", "DAE_PACS", "-aet", "SCANNER", "127.0.0.1", node.scp.port, path)
    assert done.returncode == 0, done.stderr
    node.wait_for("ended")
    incoming = node.kept[0]
    assert (incoming.calling_ae, incoming.called_ae) == ("SCANNER", "DAE_PACS")
    assert incoming.address == "127.0.0.1"
    assert (incoming.SOPClassUID, incoming.transfer_syntax_uid) == (CT, EXPLICIT)
    received = node.files()[0]
    assert pydicom.dcmread(received).pixel_array.tobytes() == pydicom.dcmread(path).pixel_array.tobytes()
    assert pydicom.dcmread(received).SOPInstanceUID == incoming.SOPInstanceUID
    assert data_set(received)


@pytest.mark.pacs
@pytest.mark.parametrize(
    ("option", "name"),
    [("-xw", "JPEG2000.dcm"), ("-xr", "MR_small_RLE.dcm"), ("-xs", "JPEG-LL.dcm"), ("-xd", "image_dfl.dcm")],
)
def test_dcmtk_stores_compressed_objects_as_they_are(
    node: Any, sample: Sample, data_set: DataSet, option: str, name: str
) -> None:
    path = sample(name)
    done = run("storescu", "-R", option, "-aec", "DAE_PACS", "127.0.0.1", node.scp.port, path)
    assert done.returncode == 0, done.stderr
    received = pydicom.dcmread(node.files()[0])
    sent = pydicom.dcmread(path)
    assert received.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert received.PixelData == sent.PixelData


@pytest.mark.pacs
def test_echoscu_is_answered(node: Any) -> None:
    assert run("echoscu", "-aec", "DAE_PACS", "127.0.0.1", node.scp.port).returncode == 0
    assert node.events == []
