from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dae_pacs.demo.orthanc import Orthanc, Routing, find_orthanc
from dae_pacs.errors import PeerError

pytestmark = [pytest.mark.pacs]

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
CT_UID = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


def test_stored_instance_is_found_by_its_uid(orthanc: Orthanc) -> None:
    instance = orthanc.rest.upload(CT.read_bytes())
    assert orthanc.rest.find_instance(CT_UID) == instance
    assert orthanc.rest.tags(instance)["Modality"] == "CT"
    assert orthanc.rest.file(instance) == CT.read_bytes()
    (study,) = orthanc.rest.studies()
    orthanc.rest.delete(f"/studies/{study}")
    assert orthanc.rest.count_instances() == 0


def test_archive_survives_a_restart_on_the_same_ports(orthanc: Orthanc) -> None:
    ports = (orthanc.port, orthanc.http_port)
    orthanc.rest.upload(CT.read_bytes())
    orthanc.stop()
    assert not orthanc.rest.is_up()
    orthanc.start()
    assert (orthanc.port, orthanc.http_port) == ports
    assert orthanc.rest.count_instances() == 1


def test_unknown_resource_is_told_in_words(orthanc: Orthanc) -> None:
    with pytest.raises(PeerError, match="/instances/nothing"):
        orthanc.rest.tags("nothing")


def test_orthanc_that_can_not_start_shows_its_log(tmp_path: Path) -> None:
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    broken = Orthanc(tmp_path / "broken", routing=Routing.NONE, options={"DicomPort": "no number"})
    with pytest.raises(PeerError, match="the end of its log"):
        broken.start()
