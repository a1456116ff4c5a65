import pydicom.uid
import pytest
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dae_pacs.dimse import contexts


def test_explicit_little_endian_is_wanted_most() -> None:
    assert contexts.TRANSFER_SYNTAXES[0] == pydicom.uid.ExplicitVRLittleEndian


def test_nothing_stands_twice() -> None:
    assert len(set(contexts.TRANSFER_SYNTAXES)) == len(contexts.TRANSFER_SYNTAXES)
    assert len(set(contexts.STORAGE_SOP_CLASSES)) == len(contexts.STORAGE_SOP_CLASSES)


def test_every_transfer_syntax_is_one_of_the_standard() -> None:
    for uid in contexts.TRANSFER_SYNTAXES:
        assert pydicom.uid.UID(uid).is_transfer_syntax


def test_all_storage_classes_of_pynetdicom_and_more_are_accepted() -> None:
    known = {str(cx.abstract_syntax) for cx in AllStoragePresentationContexts}
    assert known < set(contexts.STORAGE_SOP_CLASSES)


@pytest.mark.parametrize("uid", contexts.STORAGE_SOP_CLASSES)
def test_accepted_classes_are_served_as_storage(uid: str) -> None:
    contexts.register()
    assert uid_to_service_class(uid) is StorageServiceClass


def test_verification_is_offered_with_the_mandatory_syntax() -> None:
    offered = {str(cx.abstract_syntax): cx.transfer_syntax for cx in contexts.supported()}
    assert contexts.IMPLICIT_LITTLE_ENDIAN in offered[contexts.VERIFICATION]
