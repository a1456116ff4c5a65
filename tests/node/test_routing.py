from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.image.header import Summary, read_header, summarise
from dae_pacs.node.routing import Decision, decide

MODEL = ModelSettings(name="general", strength=0.5)


def header(**elements: Any) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.SourceApplicationEntityTitle = "GANTRY"
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def rule(name: str = "r", /, **settings: Any) -> Rule:
    return Rule.model_validate({"name": name, "destinations": ["orthanc"], **settings})


def summary(ds: Dataset, **changes: Any) -> Summary:
    plain = Summary(
        SOPClassUID=str(ds.SOPClassUID), SOPInstanceUID="1.2", StudyInstanceUID="1.3",
        SeriesInstanceUID="1.4",
        PatientID="", AccessionNumber="", StudyDate="", Modality="CT", SeriesDescription="", SeriesNumber=1,
        transfer_syntax_uid=str(ExplicitVRLittleEndian), expected_count=None, is_own=False, reason=None,
    )  # fmt: skip
    return replace(plain, **changes)


def decided(ds: Dataset, *rules: Rule, **changes: Any) -> Decision:
    return decide(
        ds, summary(ds, **changes), calling_ae="GANTRY7", called_ae="DAE_PACS", rules=rules, model=MODEL
    )


def fires(ds: Dataset, **when: Any) -> bool:
    return decided(ds, rule(when=when)).plan.action == "denoise"


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ("CT", True), ("ct", True), ("C*", True), ("?T", True), ("[CM]T", True), ("*", True),
        (["MR", "CT"], True), ("MR", False), ("C", False), ("", False), ([], False),
    ],
)  # fmt: skip
def test_patterns_match_as_globs_whatever_the_case(pattern: Any, is_match: bool) -> None:
    assert fires(header(), Modality=pattern) is is_match


def test_an_element_with_several_values_matches_when_one_does() -> None:
    ds = header(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])

    assert fires(ds, ImageType="axial")
    assert not fires(ds, ImageType="LOCALIZER")


@pytest.mark.parametrize("ds", [header(), header(BodyPartExamined=""), header(BodyPartExamined=None)])
def test_a_missing_or_empty_element_matches_only_the_empty_pattern(ds: Dataset) -> None:
    assert fires(ds, BodyPartExamined="")
    assert fires(ds, BodyPartExamined=["CHEST", ""])
    assert not fires(ds, BodyPartExamined="*")
    assert not fires(ds, BodyPartExamined="CHEST")


def test_an_element_with_a_value_does_not_match_the_empty_pattern() -> None:
    assert not fires(header(BodyPartExamined="CHEST"), BodyPartExamined="")


def test_every_condition_must_hold() -> None:
    ds = header(BodyPartExamined="CHEST")

    assert fires(ds, Modality="CT", BodyPartExamined="CHEST")
    assert not fires(ds, Modality="CT", BodyPartExamined="HEAD")


def test_the_ae_titles_of_the_association_decide_too() -> None:
    assert fires(header(), CallingAETitle="gantry*", CalledAETitle="DAE_PACS")
    assert not fires(header(), CalledAETitle="OTHER")


def test_a_uid_matches_by_number_and_by_name() -> None:
    assert fires(header(), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    assert fires(header(), SOPClassUID="CT Image*")
    assert not fires(header(), SOPClassUID="MR Image*")


def test_the_transfer_syntax_and_the_file_meta_can_be_asked_for() -> None:
    assert fires(header(), TransferSyntaxUID="Explicit VR Little Endian")
    assert fires(header(), SourceApplicationEntityTitle="GANTRY")


def test_numbers_match_as_they_are_written() -> None:
    ds = header(KVP="120", Rows=512, SeriesNumber=3, ExposureTimeInms=2.5)

    assert fires(ds, KVP=120, Rows="512", SeriesNumber="3", ExposureTimeInms="2.5")


def test_a_name_in_another_character_set_matches() -> None:
    ds = header(SpecificCharacterSet="ISO_IR 192", PatientName="Grün^Änne")

    assert fires(ds, PatientName="grün^*")


def test_the_first_rule_that_matches_decides() -> None:
    rules = (
        rule("head", when={"BodyPartExamined": "HEAD"}),
        rule(
            "ct",
            when={"Modality": "CT"},
            strength=0.9,
            model="special",
            priority="STAT",
            description="{source} x",
        ),
        rule("all"),
    )

    plan = decided(header(), *rules).plan

    assert (plan.action, plan.rule, plan.model, plan.strength) == ("denoise", "ct", "special", 0.9)
    assert (plan.priority, plan.description, plan.destinations) == ("STAT", "{source} x", ("orthanc",))
    assert not plan.forward_original


def test_a_rule_that_names_no_model_takes_the_configured_one() -> None:
    plan = decided(header(), rule()).plan

    assert (plan.model, plan.strength) == ("general", 0.5)


def test_a_strength_of_zero_is_a_strength() -> None:
    assert decided(header(), rule(strength=0)).plan.strength == 0


def test_the_explanation_says_what_failed_with_the_value_found() -> None:
    ds = header(ImageType=["DERIVED", "SECONDARY"])
    rules = (
        rule("head", when={"Modality": "CT", "BodyPartExamined": ["HEAD", "NECK"]}),
        rule("original", when={"ImageType": "ORIGINAL"}),
        rule("ct", when={"Modality": "C*"}),
        rule("never tried"),
    )

    assert decided(ds, *rules).explanation == (
        'rule 1 "head" does not match: BodyPartExamined is absent, not "HEAD" or "NECK"',
        'rule 2 "original" does not match: ImageType is "DERIVED" and "SECONDARY", not "ORIGINAL"',
        'rule 3 "ct" matches: Modality is "CT", as "C*" asks',
        "denoised with general at strength 0.5, delivered to orthanc",
    )


def test_what_no_rule_matches_is_kept_with_the_reason() -> None:
    decision = decided(header(), rule(when={"Modality": "MR"}))

    assert (decision.plan.action, decision.plan.reason) == ("keep", "no rule matches")
    assert decision.plan.destinations == ()
    assert decision.explanation[-1] == "kept in the spool, nothing is delivered: no rule matches"


def test_our_own_result_starts_nothing() -> None:
    decision = decided(header(), rule(forward_original=True), is_own=True)

    assert decision.plan.action == "own"
    assert decision.plan.destinations == ()
    assert not decision.plan.forward_original


def test_what_can_not_be_denoised_is_passed_over_with_the_reason() -> None:
    plan = decided(header(), rule(), reason="a structured report has no pixels").plan

    assert (plan.action, plan.reason, plan.rule) == ("pass_over", "a structured report has no pixels", "r")


def test_what_can_not_be_denoised_is_still_forwarded_where_the_rule_asks() -> None:
    decision = decided(header(), rule(forward_original=True), reason="colour")

    assert decision.plan.forward_original
    assert decision.plan.destinations == ("orthanc",)
    assert decision.explanation[-1] == "passed over: colour; the original is delivered to orthanc"


def test_forward_delivers_the_original_whatever_it_is() -> None:
    plan = decided(header(), rule(action="forward"), reason="colour").plan

    assert (plan.action, plan.reason, plan.forward_original) == ("forward", None, True)


def test_a_rule_can_keep() -> None:
    decision = decided(header(), Rule(name="all", action="keep"))

    assert (decision.plan.action, decision.plan.rule) == ("keep", "all")


def test_a_value_that_breaks_its_representation_is_compared_as_it_stands(tmp_path: Path) -> None:
    path = Path(get_testdata_file("CT_small.dcm"))
    data = path.read_bytes()
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(data.replace(b"IS\x02\x001 ", b"IS\x02\x00x ", 1))
    with broken.open("rb") as file:
        ds = read_header(file)

    decision = decide(
        ds,
        summarise(ds),
        calling_ae="A",
        called_ae="B",
        rules=(rule(when={"SeriesNumber": "?"}),),
        model=MODEL,
    )

    assert decision.plan.action == "denoise"


def test_a_decision_leaves_the_header_as_it_was() -> None:
    with Path(get_testdata_file("CT_small.dcm")).open("rb") as file:
        ds = read_header(file)
    before = {tag: ds.get_item(tag) for tag in ds.keys()}  # noqa: SIM118

    asked = rule(when={"ImageType": "*", "SOPClassUID": "*", "Rows": "128", "PatientName": "x"})
    decide(ds, summarise(ds), calling_ae="A", called_ae="B", rules=(asked,), model=MODEL)

    assert all(ds.get_item(tag) is element for tag, element in before.items())


def test_a_control_character_does_not_reach_the_explanation() -> None:
    decision = decided(header(SeriesDescription="a\x1b[31m"), rule(when={"SeriesDescription": "b"}))

    assert "\x1b" not in "".join(decision.explanation)


def test_a_rules_further_outputs_are_planned_and_told() -> None:
    asked = rule(strength=0.5, strengths=[0.25], removed=True, compression="rle")
    decision = decided(header(), asked)
    assert [(v.name, v.kind, v.strength) for v in decision.plan.variants] == [
        ("", "denoised", 0.5),
        ("s=0.25", "denoised", 0.25),
        ("removed", "removed", 0.5),
    ]
    assert decision.plan.compression == "rle"
    assert "once more at strength 0.25, what was removed as a series of its own" in decision.explanation[-1]
