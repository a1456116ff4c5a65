"""A viewer shows source and strength-0 derived object as the same picture, pixel for pixel."""

import http.client
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dae_pacs.demo.orthanc import Orthanc
from dae_pacs.errors import PeerError
from dae_pacs.image import files, peek

pytestmark = pytest.mark.pacs
LARGEST_BYTES = 3_000_000
# Twelve signed bits whose sign some cells extend into the unused four, and some not. Orthanc shows the whole
# cell; a derived object extends all of them, and its stored values are the source's.
SHOWN_OTHERWISE = {"data_store/mlut_18.dcm"}


def kind_of(path: Path) -> tuple[Any, ...]:
    """What decides how a viewer paints: class, syntax, sign, bits, photometric interpretation, window."""
    ds = files.read(path)
    numbers = (peek.number(ds, name) for name in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    return (
        peek.string(ds, "SOPClassUID"),
        ds.file_meta.TransferSyntaxUID,
        *numbers,
        peek.string(ds, "PhotometricInterpretation"),
        "WindowCenter" in ds,
        "VOILUTSequence" in ds,
    )


def pictures(orthanc: Orthanc, path: Path, *, is_signed: bool) -> dict[str, np.ndarray]:
    """Show one object alone: the same image lies here in many syntaxes, under one UID."""
    try:
        instance = orthanc.rest.upload(path.read_bytes())
    except PeerError:
        return {}
    try:
        cells = "image-int16" if is_signed else "image-uint16"
        shown = {view: view_of(orthanc, instance, view) for view in ("preview", cells)}
        return {view: picture for view, picture in shown.items() if picture is not None}
    finally:
        orthanc.rest.delete(f"/instances/{instance}")


def view_of(orthanc: Orthanc, instance: str, view: str) -> np.ndarray | None:
    connection = http.client.HTTPConnection("127.0.0.1", orthanc.http_port, timeout=30)
    try:
        connection.request("GET", f"/instances/{instance}/{view}", headers={"Accept": "image/png"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return np.asarray(Image.open(io.BytesIO(content))) if answer.status == 200 else None


def test_orthanc_shows_source_and_derived_as_the_same_picture(
    pairs: list[Any], start_orthanc: Callable[..., Orthanc]
) -> None:
    orthanc, seen, compared = start_orthanc(), set(), 0
    # The smallest of each kind.
    for pair in sorted(pairs, key=lambda pair: pair.derived.stat().st_size):
        kind = kind_of(pair.source)
        if kind in seen or pair.derived.stat().st_size > LARGEST_BYTES:
            continue
        is_signed = kind[4] == 1
        seen.add(kind)
        before = pictures(orthanc, pair.source, is_signed=is_signed)
        if not before:
            continue
        after = pictures(orthanc, pair.derived, is_signed=is_signed)
        assert after.keys() == before.keys(), pair.name
        different = [view for view in before if not np.array_equal(before[view], after[view])]
        assert not different or pair.name in SHOWN_OTHERWISE, (pair.name, different)
        compared += 1
    assert compared >= 20
