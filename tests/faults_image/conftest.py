"""Objects that lie, break off, or blow up: each is bytes of a Part 10 file."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite

NOISE = np.random.default_rng(0).integers(0, 4000, (64, 64), dtype=np.uint16)
DEFLATED, EXPLICIT = uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRLittleEndian


def _rle(cells: np.ndarray) -> bytes:
    planes = [(cells >> 8).astype("u1"), (cells & 255).astype("u1")]
    segments = [imagecodecs.packbits_encode(plane.tobytes()) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [64, 64 + len(segments[0])]
    return struct.pack("<16L", 2, *offsets, *([0] * 13)) + b"".join(segments)


_SYNTAXES = {
    "JPEG": (uid.JPEGBaseline8Bit, lambda cells: imagecodecs.jpeg8_encode((cells >> 4).astype("u1"))),
    "JPEG lossless": (uid.JPEGLosslessSV1, lambda cells: imagecodecs.ljpeg_encode(cells, bitspersample=12)),
    "JPEG-LS": (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": (
        uid.JPEG2000Lossless,
        lambda cells: imagecodecs.jpeg2k_encode(cells, codecformat="j2k", reversible=True),
    ),
    "RLE": (uid.RLELossless, _rle),
}


def _object(number: int, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    ds.SOPClassUID, ds.Modality, ds.ImageType = (
        uid.ComputedRadiographyImageStorage,
        "CR",
        ["ORIGINAL", "PRIMARY"],
    )
    ds.SOPInstanceUID, ds.SeriesInstanceUID = f"1.2.826.9.{number}.1", f"1.2.826.9.{number}.2"
    ds.StudyInstanceUID, ds.PatientName, ds.PatientID = f"1.2.826.9.{number}.3", "Bad^Input", "B1"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 64, 64, 16, 12, 11
    ds.add_new("PixelData", "OW", NOISE.tobytes())
    for name, value in elements.items():
        if value is None:
            del ds[name]
        else:
            setattr(ds, name, value)
    return ds


def _file(ds: Dataset, *, cut: int = 0) -> bytes:
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = DicomBytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    data = buffer.getvalue()
    return data[: len(data) - cut]


def _spliced(ds: Dataset, element: bytes) -> bytes:
    """Put bytes in front of the first element behind the file meta information."""
    data = _file(ds)
    start = data.index(b"\x08\x00\x08\x00CS")
    return data[:start] + element + data[start:]


def _compressed(
    number: int, kind: str, change: Callable[[bytes], bytes] = lambda data: data, **elements: Any
):
    syntax, encode = _SYNTAXES[kind]
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} if kind == "JPEG" else {}
    ds = _object(number, **(bits | elements))
    ds.PixelData = encapsulate([change(bytes(encode(NOISE)))])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    return _file(ds)


def _nested(depth: int, *, is_defined: bool) -> bytes:
    body = b""
    for _ in range(depth):
        size = len(body) if is_defined else 0xFFFFFFFF
        body = struct.pack("<HHL", 0xFFFE, 0xE000, size) + body
        size = len(body) if is_defined else 0xFFFFFFFF
        body = struct.pack("<HH2sHL", 0x0008, 0x0006, b"SQ", 0, size) + body
    return body


def _deflated(number: int, inflated_mb: int) -> bytes:
    ds = _object(number)
    ds.file_meta.TransferSyntaxUID = DEFLATED
    honest = _file(ds)
    start = honest.index(b"\x02\x00\x10\x00UI")
    start += 8 + struct.unpack_from("<H", honest, start + 6)[0]
    # Behind the meta information elements pydicom writes, in the order of their tags.
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    begin = honest.index(b"\x02\x00\x12\x00UI")
    begin += 8 + struct.unpack_from("<H", honest, begin + 6)[0]
    begin += 8 + struct.unpack_from("<H", honest, begin + 6)[0] if honest[begin : begin + 2] == b"\2\0" else 0
    plain = _object(number)
    plain_bytes = _file(plain)
    body = plain_bytes[plain_bytes.index(b"\x08\x00\x08\x00CS") :]
    parts = [packer.compress(body)]
    filler = struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, inflated_mb << 20)
    parts.append(packer.compress(filler))
    block = b"\0" * (1 << 20)
    parts += [packer.compress(block) for _ in range(inflated_mb)]
    parts.append(packer.flush())
    return honest[:begin] + b"".join(parts)


def _jpegls_says(rows: int, columns: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        place = data.index(b"\xff\xf7")
        return data[: place + 5] + struct.pack(">HH", rows, columns) + data[place + 9 :]

    return change


def _j2k_says(size: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        place = data.index(b"\xff\x51")
        fields = struct.pack(">8L", size, size, 0, 0, size, size, 0, 0)
        return data[: place + 6] + fields + data[place + 38 :]

    return change


def _behind_a_false_header(data: bytes) -> bytes:
    """A JP2 file whose first box shows an honest codestream header, and whose codestream is another."""
    box = lambda kind, body: struct.pack(">L4s", 8 + len(body), kind) + body  # noqa: E731
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"free", data[:200]) + box(b"jp2c", _j2k_says(60000)(data))


def _garbled(seed: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        rng = np.random.default_rng(seed)
        garbled = bytearray(data)
        for place in rng.integers(2 if seed % 2 else len(data) // 4, len(data) - 4, 40):
            garbled[place] = int(rng.integers(0, 256))
        return bytes(garbled)

    return change


def _half(data: bytes) -> bytes:
    return data[: len(data) // 4 * 2]


# What is broken, how, and the words that must tell it.
BROKEN: dict[str, tuple[Callable[[int], bytes], str]] = {
    "file cut off in its pixels": (lambda n: _file(_object(n), cut=1000), "cut off"),
    "pixel data too short": (lambda n: _file(_object(n, PixelData=NOISE.tobytes()[:-512])), "promises 8192"),
    "pixel data too long": (lambda n: _file(_object(n, PixelData=NOISE.tobytes() * 2)), "whole frames"),
    "length beyond the end": (
        lambda n: _spliced(_object(n), struct.pack("<HH2sHL", 8, 6, b"OB", 0, 0xFFFFFFF0)),
        "cut off",
    ),
    "no Rows": (lambda n: _file(_object(n, Rows=None)), "Rows"),
    "no BitsStored": (lambda n: _file(_object(n, BitsStored=None)), "BitsStored is missing"),
    "no BitsAllocated": (lambda n: _file(_object(n, BitsAllocated=None)), "Bits ?Allocated"),
    "BitsStored beyond BitsAllocated": (lambda n: _file(_object(n, BitsStored=33)), "contradict"),
    "NumberOfFrames too many": (lambda n: _file(_object(n, NumberOfFrames=2_000_000)), "promises"),
    "NumberOfFrames negative": (lambda n: _file(_object(n, NumberOfFrames=-3)), "-3 frames"),
    "NumberOfFrames of a stream": (lambda n: _compressed(n, "JPEG-LS", NumberOfFrames=7), "Number of Frames"),
    "Rows as text": (
        lambda n: _file(_object(n)).replace(b"(\0\x10\0US\2\0@\0", b"(\0\x10\0DS\2\0ab"),
        "no number|no whole|no Rows",
    ),
    "BitsAllocated as bytes": (
        lambda n: _file(_object(n)).replace(b"(\0\0\1US\2\0\x10\0", b"(\0\0\1LO\2\0xx"),
        "no number|Bits Allocated|broken",
    ),
    "sequences nested 3,000 deep, lengths undefined": (
        lambda n: _spliced(_object(n), _nested(3000, is_defined=False)),
        "nested",
    ),
    "sequences nested 3,000 deep, lengths defined": (
        lambda n: _spliced(_object(n), _nested(3000, is_defined=True)),
        "nested",
    ),
    "65,535 squared": (lambda n: _file(_object(n, Rows=65535, Columns=65535)), "promises"),
    **{
        f"65,535 squared, {kind}": (
            lambda n, kind=kind: _compressed(n, kind, Rows=65535, Columns=65535),
            "limit",
        )
        for kind in _SYNTAXES
    },
    "65,535 squared, one byte a pixel, said by the stream too": (
        lambda n: _compressed(
            n,
            "JPEG-LS",
            _jpegls_says(65535, 65535),
            Rows=65535,
            Columns=65535,
            BitsAllocated=8,
            BitsStored=8,
            HighBit=7,
        ),
        "limit",
    ),
    "deflate bomb of 3 GB": (lambda n: _deflated(n, 3000), "limit"),
    "JPEG-LS that says 60,000 squared": (
        lambda n: _compressed(n, "JPEG-LS", _jpegls_says(60000, 60000)),
        "60000 x 60000",
    ),
    "JPEG 2000 that says 60,000 squared": (
        lambda n: _compressed(n, "JPEG 2000", _j2k_says(60000)),
        "60000 x 60000",
    ),
    "JPEG 2000 that says so behind a false header": (
        lambda n: _compressed(n, "JPEG 2000", _behind_a_false_header),
        "60000 x 60000",
    ),
    **{
        f"{kind} cut in half": (
            lambda n, kind=kind: _compressed(n, kind, _half),
            "again|does not decode|RLE|cut",
        )
        for kind in _SYNTAXES
    },
    "RLE that promises more segments": (
        lambda n: _compressed(n, "RLE", lambda data: b"\x0f" + data[1:]),
        "segments",
    ),
    "compressed frame that is text": (
        lambda n: _compressed(n, "JPEG 2000", lambda _: b"no picture at all!"),
        "neither JPEG",
    ),
}
# Damage that a decoder may fail to notice: any outcome but a crash, a hang or an explosion.
GARBLED: dict[str, tuple[Callable[[int], bytes], str]] = {
    f"{kind} garbled {seed}": (lambda n, kind=kind, seed=seed: _compressed(n, kind, _garbled(seed)), "")
    for kind in _SYNTAXES
    for seed in range(6)
}


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write every broken object into a file of its own, by name."""
    folder = tmp_path_factory.mktemp("broken")
    written = {}
    for number, (name, (make, _)) in enumerate((BROKEN | GARBLED).items()):
        written[name] = folder / f"{number:02}.dcm"
        written[name].write_bytes(make(number + 1))
    return written


@pytest.fixture(scope="session")
def words() -> dict[str, str]:
    """The words that tell what is wrong with each, as a pattern; "" where nothing need be wrong."""
    return {name: pattern for name, (_, pattern) in (BROKEN | GARBLED).items()}
