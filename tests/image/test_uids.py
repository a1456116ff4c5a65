from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from dae_pacs.image.uids import derived_instance_uid, derived_series_uid, digest_uid


@given(st.lists(st.text(max_size=20), max_size=4))
def test_digest_uid_is_a_valid_uid_and_uuid(parts: list[str]) -> None:
    uid = digest_uid(*parts)
    root, number = uid.rsplit(".", 1)
    assert root == "2.25"
    assert len(uid) <= 64
    assert number == str(int(number))
    assert UUID(int=int(number)).version == 8
    assert uid == digest_uid(*parts)


def test_parts_do_not_run_into_each_other() -> None:
    assert digest_uid("1.2", "3") != digest_uid("1.2.3", "")
    assert digest_uid("a", "b") != digest_uid("ab")


def test_every_part_of_the_key_changes_the_instance_uid() -> None:
    key = {"content_digest": "c", "model_digest": "m", "settings": "s"}
    uids = {
        derived_instance_uid("1.2", **key),
        derived_instance_uid("1.3", **key),
        *(derived_instance_uid("1.2", **(key | {name: "x"})) for name in key),
    }
    assert len(uids) == 5


def test_late_images_join_the_same_series() -> None:
    assert derived_series_uid("1.2", model_digest="m", settings="s") == derived_series_uid(
        "1.2", model_digest="m", settings="s"
    )
    assert derived_series_uid("1.2", model_digest="m", settings="s") != derived_series_uid(
        "1.2", model_digest="n", settings="s"
    )
