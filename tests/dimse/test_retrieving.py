"""Studies are found at a real archive, and come over C-MOVE and C-GET: an Orthanc for the whole module."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage

from dae_pacs.demo.orthanc import NodeAddress, Orthanc, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph
from dae_pacs.dimse import finding, getting, moving, scp, statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.reception import Store
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.retrieval import Progress, Target, Watch
from dae_pacs.errors import ConfigError, PeerError

pytestmark = pytest.mark.pacs

NAMES = {
    "LATIN": ("ISO_IR 100", "Müller^Jörg"),
    "GREEK": ("ISO_IR 126", "Διονυσιος"),
    "JAPAN": ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "UTF8": ("ISO_IR 192", "Ivanov^Иван"),
}
STUDY_KEYS = dict.fromkeys(
    ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "ModalitiesInStudy"), ""
)
SERIES_KEYS = dict.fromkeys(("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"), "")


def _uploaded(orthanc, objects):
    for ds in objects:
        file = io.BytesIO()
        ds.save_as(file, enforce_file_format=True)
        orthanc.rest.upload(file.getvalue())


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, port):
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    options = {
        "DefaultEncoding": "Utf8",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
    }
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, node=NodeAddress("DAE_PACS", port), options=options) as orthanc:
        for patient_id, (character_set, name) in NAMES.items():
            study = Study(patient_id=patient_id)
            for ds in [*ct_series(study, slices=3, size=32), radiograph(study, "CR", rows=32, columns=32)]:
                terms = character_set.split("\\")
                ds.SpecificCharacterSet = terms if len(terms) > 1 else character_set
                ds.PatientName = name
                _uploaded(orthanc, [ds])
        yield orthanc


@pytest.fixture
def peer(archive):
    return PeerAddress("ORTHANC", "127.0.0.1", archive.port, 5.0, 5.0)


@pytest.fixture
def finder(peer):
    with finding.finder(peer, calling_ae="DAE_PACS") as made:
        yield made


@pytest.fixture
def ct(finder):
    (study,) = finder.find("STUDY", {**STUDY_KEYS, "PatientID": "LATIN"}, finding.Bounds()).found
    keys = {**SERIES_KEYS, "StudyInstanceUID": study["StudyInstanceUID"]}
    series = {one["Modality"]: one for one in finder.find("SERIES", keys, finding.Bounds()).found}
    assert series["CT"]["NumberOfSeriesRelatedInstances"] == "3"
    return Target(study["StudyInstanceUID"], series["CT"]["SeriesInstanceUID"])


@pytest.mark.parametrize("patient_id", NAMES)
def test_names_in_any_character_set_are_found_and_read(finder, patient_id):
    name = NAMES[patient_id][1]
    asked = {**STUDY_KEYS, "PatientName": f"*{name[-4:]}"}
    (match,) = finder.find("STUDY", asked, finding.Bounds()).found
    assert (match["PatientID"], match["PatientName"]) == (patient_id, name)


def test_a_character_set_that_can_t_hold_a_name_is_said_so(peer):
    with (
        finding.finder(peer, calling_ae="DAE_PACS", character_set="ISO_IR 100") as finder,
        pytest.raises(ConfigError, match="PatientName: the character set ISO_IR 100 can't hold"),
    ):
        finder.find("STUDY", {"PatientName": "山田*"}, finding.Bounds())


def test_matches_are_bounded_and_the_association_goes_on(finder):
    cut = finder.find("STUDY", STUDY_KEYS, finding.Bounds(most=2))
    assert (len(cut.found), cut.is_cut) == (2, True)
    assert not finder.find("STUDY", STUDY_KEYS, finding.Bounds(most=4)).is_cut


def test_nothing_found_is_no_error(finder):
    assert finder.find("STUDY", {**STUDY_KEYS, "PatientID": "NOBODY"}, finding.Bounds()).found == ()


class _Taken:
    """Receives into files of a folder, and remembers what came."""

    def __init__(self, folder: Path, *, status: int = 0) -> None:
        self._folder = folder
        self._status = status
        self.kept: list[scp.Incoming] = []
        self.ended: list[str] = []

    def receiving(self):
        return getting.Receiving(
            Store(self._open, self._keep, 1 << 30), "DAE_PACS", association_ended=self.ended.append
        )

    def _open(self):
        return _File(self._folder / f"{len(list(self._folder.iterdir()))}.dcm")

    def _keep(self, incoming):
        incoming.file.close()
        self.kept.append(incoming)
        return Answer(self._status)


class _File:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data):
        self._file.write(data)

    def close(self):
        self._file.close()

    discard = close


@pytest.fixture
def taken(tmp_path):
    return _Taken(tmp_path)


@pytest.mark.parametrize("classes", [(), (CTImageStorage,)])
def test_c_get_brings_a_series_over_the_association_that_asks(peer, ct, taken, classes):
    seen: list[Progress] = []
    watch = Watch(on_progress=seen.append)
    result = getting.get(peer, ct, taken.receiving(), sop_classes=classes, watch=watch)
    assert result.is_whole
    assert result.progress.completed == 3
    assert seen[-1].remaining == 0
    assert len({one.SOPInstanceUID for one in taken.kept}) == 3
    assert {(one.calling_ae, one.called_ae) for one in taken.kept} == {("ORTHANC", "DAE_PACS")}
    assert taken.ended == [taken.kept[0].association]


def test_c_get_brings_only_the_objects_that_are_named(peer, ct, taken, finder):
    keys = {"StudyInstanceUID": ct.StudyInstanceUID, "SeriesInstanceUID": ct.SeriesInstanceUID}
    uids = finder.find("IMAGE", {**keys, "SOPInstanceUID": ""}, finding.Bounds()).found
    wanted = tuple(one["SOPInstanceUID"] for one in uids[:2])
    assert getting.get(peer, replace(ct, SOPInstanceUIDs=wanted), taken.receiving(), watch=Watch()).is_whole
    assert {one.SOPInstanceUID for one in taken.kept} == set(wanted)


def test_objects_that_we_can_t_keep_are_counted_as_failed(peer, ct, tmp_path):
    full = _Taken(tmp_path, status=statuses.OUT_OF_RESOURCES)
    result = getting.get(peer, ct, full.receiving(), watch=Watch())
    assert not result.is_whole
    assert result.words


def test_c_move_has_the_archive_send_to_the_node(peer, ct, port, start_node):
    node = start_node(port=port)
    result = moving.move(peer, ct, calling_ae="DAE_PACS", destination="DAE_PACS", watch=Watch())
    assert result.is_whole
    node.wait_for("ended")
    assert len(node.kept) == 3


def test_a_destination_that_the_archive_does_not_know_is_said_so(peer, ct):
    result = moving.move(peer, ct, calling_ae="DAE_PACS", destination="NOWHERE", watch=Watch())
    assert not result.is_whole
    assert "have the AE title NOWHERE be entered there" in result.words


def test_a_peer_that_offers_no_queries_is_said_so(start_node):
    node = start_node()
    with (
        pytest.raises(PeerError, match=r"does not offer queries \(C-FIND\) to US"),
        finding.finder(node.peer, calling_ae="US"),
    ):
        pass
    with pytest.raises(PeerError, match=r"does not offer C-MOVE.*fetch by get instead"):
        moving.move(node.peer, Target("1.2", "1.3"), calling_ae="US", destination="US", watch=Watch())


def test_a_peer_that_offers_no_c_get_is_said_so(start_node, taken):
    with pytest.raises(PeerError, match=r"does not offer C-GET.*fetch by move instead"):
        getting.get(start_node().peer, Target("1.2", "1.3"), taken.receiving(), watch=Watch())
