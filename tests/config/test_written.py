from pathlib import Path

from dae_pacs.config.load import load, sample
from dae_pacs.config.written import as_toml


def test_what_is_shown_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    given, shown = tmp_path / "given.toml", tmp_path / "shown.toml"
    given.write_text(
        sample()
        + '[[rules]]\nname = "a \\"quoted\\" ünit"\nwhen = { PatientID = "?\\\\d" }\naction = "keep"\n'
        + '[[pulls]]\nname = "night"\npeer = "orthanc"\ndates = "last 3 days"\nhours = "20-06"\n'
    )
    settings = load(given)

    shown.write_text(as_toml(settings), encoding="utf-8")

    assert load(shown) == settings
