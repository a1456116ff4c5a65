"""Valid data sets for the fuzzer to break: explicit VR little endian, sequences of defined length."""

from functools import cache

from pydicom import Dataset
from pydicom.dataelem import DataElement
from stranger import data_set_of, small_ct


@cache
def valid_data_sets() -> tuple[bytes, ...]:
    """Make a plain slice, one with sequences in sequences, one of several frames, and one with odd values."""
    return tuple(
        data_set_of(ds) for ds in (small_ct(), _with_sequences(), _with_frames(), _with_many_kinds())
    )


def _with_sequences() -> Dataset:
    ds, outer, inner = small_ct(), Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "113087", "DCM", "Smoothing"
    outer.ReferencedSOPClassUID, outer.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.3.4"
    outer.PurposeOfReferenceCodeSequence = [inner, inner]
    ds.SourceImageSequence = [outer, outer, outer]
    return ds


def _with_frames() -> Dataset:
    ds = small_ct()
    ds.NumberOfFrames = 3
    ds.PixelData = ds.PixelData * 3
    return ds


def _with_many_kinds() -> Dataset:
    """Carry an element of each value representation that has one."""
    ds = small_ct()
    ds.SpecificCharacterSet = ["ISO_IR 100", "ISO 2022 IR 87"]
    ds.PixelPaddingValue, ds.WindowCenter = 0, ["40", "400"]
    ds.PatientAge, ds.PatientComments, ds.FrameIncrementPointer = "040Y", "none", 0x00181063
    for number, (vr, value) in enumerate(
        (
            ("FD", 0.5),
            ("FL", 0.25),
            ("SL", -1),
            ("UL", 1),
            ("AT", 0x00100010),
            ("OB", b"\0\1"),
            ("UN", b"ab"),
        ),
        start=0x00111001,
    ):
        ds.add(DataElement(number, vr, value))
    ds.add(DataElement(0x00110010, "LO", "FUZZ"))
    return ds
