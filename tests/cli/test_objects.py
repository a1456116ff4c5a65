from pathlib import Path

from dae_pacs.cli.objects import files_of


def test_folders_give_their_files_in_order_and_each_once(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "a/1.dcm", "a/.hidden", ".git/config", "DICOMDIR"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    found = files_of([tmp_path, tmp_path / "a" / "1.dcm"])

    assert found.files == (tmp_path / "a" / "1.dcm", tmp_path / "b" / "2.dcm")
    assert found.problems == ()


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()

    assert files_of([tmp_path / ".hidden"]).files == (tmp_path / ".hidden",)


def test_an_empty_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    found = files_of([tmp_path, tmp_path / "none"])

    assert found.files == ()
    assert found.problems == (
        f"{tmp_path}: the folder has no files in it. Name a folder with DICOM files.",
        f"{tmp_path}/none: there is no such file or folder. Check the path.",
    )
