"""What a person asks for becomes what MONAI's command line would be given."""

import shlex
from pathlib import Path
from typing import Any

import fire
import pytest
import yaml

from dae_pacs.errors import TrainingError
from dae_pacs.learn.plan import Request, as_argument, make_plan, parse_settings, recipes


def request(**options: Any) -> Request:
    known = {"data": Path("images"), "recipe": "recorrupt", "name": "clinic_dx", "output": Path("runs/x")}
    return Request(**{**known, **options})


def test_every_recipe_is_offered_and_no_overlay() -> None:
    assert {"recorrupt", "supervised", "neighbor2neighbor", "noise2void", "autoencoder"} <= set(recipes())
    assert not {"common", "finetune", "parallel"} & set(recipes())


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_makes_a_plan(recipe: str) -> None:
    plan = make_plan(request(recipe=recipe, seed=5))
    assert plan.merged["data_dir"] == "images"
    assert plan.merged["seed"] == 5
    assert plan.makes_bundle == (recipe != "autoencoder")


def test_fine_tuning_goes_on_top_and_several_processes_on_top_of_that() -> None:
    plan = make_plan(request(bundle=Path("/models/a"), is_parallel=True))
    assert [path.stem for path in plan.files] == ["common", "recorrupt", "finetune", "parallel"]
    assert plan.merged["bundle"] == "/models/a"
    assert plan.merged["device"] == "$@process.device", "each process has a device of its own"


def test_what_is_set_wins_over_what_suits_the_machine() -> None:
    plan = make_plan(request(settings={"threads": 7, "train#trainer#amp": False}))
    assert plan.merged["threads"] == 7
    assert plan.merged["train"]["trainer"]["amp"] is False


def test_steps_of_a_recipe_that_counts_epochs_are_turned_into_them() -> None:
    plan = make_plan(request(recipe="autoencoder", steps=50))
    assert plan.merged["epochs"] == "$-(-50 // @steps_per_epoch)"


@pytest.mark.parametrize(
    "value",
    [3, 0.5, True, None, "plain", "12", "True", "it's", "$@a + 1", [1, "b"], {"_target_": "a.B", "c": [0.1]}],
)
def test_a_value_survives_monais_command_line(value: object) -> None:
    read = fire.Fire(lambda **given: given, command=["--name", as_argument(value)], serialize=lambda _: "")
    assert read == {"name": value}


def test_settings_are_read_as_monais_command_line_reads_them() -> None:
    assert parse_settings(["a=1", "b=[1, 2]", "c=x=y", "d=True"]) == {
        "a": 1,
        "b": [1, 2],
        "c": "x=y",
        "d": True,
    }
    with pytest.raises(TrainingError, match="expected NAME=VALUE"):
        parse_settings(["steps"])


def test_the_configuration_is_yaml_below_its_command() -> None:
    plan = make_plan(request(settings={"learning_rate": 0.5}))
    first, text = plan.configuration.split("\n", 1)
    words = shlex.split(first.removeprefix("# As run by: "))
    assert words[:4] == ["python", "-m", "monai.bundle", "run"]
    assert words[words.index("--learning_rate") + 1] == "0.5"
    assert yaml.safe_load(text)["learning_rate"] == 0.5


def test_what_only_the_card_needs_stays_out_of_the_configuration() -> None:
    plan = make_plan(request(with_pictures=True))
    assert plan.all_overrides["export#facts#pictures"] == "runs/x/pictures"
    assert "dae-pacs train DATA" not in plan.configuration


def test_the_command_of_the_card_names_no_folder() -> None:
    plan = make_plan(
        request(
            data=Path("/doe"),
            recipe="supervised",
            reference=Path("/jane"),
            bundle=Path("/roe/base"),
            settings={"validation_images": "['x.dcm']"},
        )
    )
    shown = plan.all_overrides["export#facts#command"]
    assert "--from base" in shown
    assert not [name for name in ("doe", "jane", "roe", "x.dcm") if name in shown]
