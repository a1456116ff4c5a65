"""Data sets in JSON, as PS3.18 Annex F writes them."""

import json
import math
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file

from dae_pacs.dicomweb import json_model
from dae_pacs.errors import InputError
from dae_pacs.image.header import read_header


def test_kinds_of_value_are_written_as_the_standard_says() -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = "Müller^Jürgen"
    ds.ImageType = ["ORIGINAL", "", "AXIAL"]
    ds.PixelSpacing = ["0.5", "0.25"]
    ds.InstanceNumber = 7
    ds.FrameIncrementPointer = 0x00181063
    ds.StudyDescription = ""
    ds.add_new(0x00189306, "FD", math.nan)
    item = Dataset()
    item.CodeValue = "121322"
    ds.PurposeOfReferenceCodeSequence = [item]
    found = json_model.encode(ds)
    json.dumps(found, allow_nan=False)
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jürgen"}]}
    assert found["00080008"]["Value"] == ["ORIGINAL", None, "AXIAL"]
    assert found["00280030"]["Value"] == [0.5, 0.25]
    assert found["00200013"]["Value"] == [7]
    assert found["00280009"]["Value"] == ["00181063"]
    assert found["00081030"] == {"vr": "LO"}
    assert found["00189306"]["Value"] == [None]
    assert found["0040A170"]["Value"][0]["00080100"]["Value"] == ["121322"]


def test_large_binary_values_go_by_uri_also_in_sequences() -> None:
    item = Dataset()
    item.add_new(0x54001010, "OW", bytes(5000))
    ds = Dataset()
    ds.add_new(0x54000100, "SQ", [Dataset(), item])
    ds.add_new(0x00420011, "OB", b"small")
    found = json_model.encode(ds, uri="at/{}".format)
    assert found["00420011"]["InlineBinary"] == "c21hbGw="
    uri = found["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    assert uri == "at/54000100/2/54001010"
    assert json_model.bulk_data(ds, uri.removeprefix("at/")) == bytes(5000)
    assert json_model.encode(ds)["54000100"]["Value"][1]["54001010"] == {"vr": "OW"}


@pytest.mark.parametrize("path", ["", "x", "54000100/9/54001010", "54000100/1", "00100010", "1/" * 200 + "1"])
def test_path_that_leads_nowhere_gives_nothing(path: str) -> None:
    ds = Dataset()
    ds.PatientName = "A"
    ds.add_new(0x54000100, "SQ", [Dataset()])
    assert json_model.bulk_data(ds, path) is None


def test_every_object_of_pydicom_can_be_written() -> None:
    count = 0
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    for path in sorted(folder.glob("*.dcm")):
        try:
            with path.open("rb") as file:
                ds = read_header(file)
        except InputError:
            continue
        found = json_model.encode(ds, uri=str)
        text = json.dumps(found, allow_nan=False)
        assert json_model.text(json.loads(text), "00080018") == ds.get("SOPInstanceUID", "")
        count += 1
    assert count > 30
