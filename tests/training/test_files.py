"""The recipes' files fit each other, and their README."""

import re
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
ON_TOP = ("recorrupt", "neighbor2neighbor", "noise2void", "neighbour_slices", "supervised", "simulated")


def merged(*files: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(f=[str(path) for path in files])
    return parser


def missing_references(parser: ConfigParser) -> set[str]:
    """List what is referred to and is not there."""
    parser.parse()
    names = {
        name for item in parser.ref_resolver.items.values() for name in item_references(item.get_config())
    }
    return {name for name in names if name not in parser}


def item_references(config: object) -> list[str]:
    return re.findall(r"@([\w#:]+)", config) if isinstance(config, str) else []


@pytest.mark.parametrize("recipe", ON_TOP)
@pytest.mark.parametrize("top", [(), ("finetune",), ("parallel",), ("finetune", "parallel")])
def test_every_recipe_finds_what_it_refers_to(recipe: str, top: tuple[str, ...]) -> None:
    parser = merged(*(RECIPES / f"{name}.yaml" for name in ("common", recipe, *top)))
    assert missing_references(parser) == set()
    assert parser["settings"]["steps"] == "@steps"


@pytest.mark.parametrize("path", sorted(RECIPES.with_name("data").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_shipped_model_changes_is_there_to_be_changed(path: Path) -> None:
    known = merged(RECIPES / "common.yaml", RECIPES / "simulated.yaml").get()
    assert set(yaml.safe_load(path.read_text())) <= set(known)


def test_the_readme_names_every_recipe() -> None:
    readme = RECIPES.parent.joinpath("README.md").read_text()
    for path in RECIPES.glob("*.yaml"):
        assert path.stem in readme, path.name
    for name in re.findall(r"recipes/(\w+)\.yaml", readme):
        assert (RECIPES / f"{name}.yaml").is_file(), name


def test_a_recipes_knobs_stand_at_its_top() -> None:
    common = yaml.safe_load((RECIPES / "common.yaml").read_text())
    knobs = list(common)[: list(common).index("architecture")]
    for name in re.findall(r"`--(\w+)", RECIPES.parent.joinpath("README.md").read_text()):
        assert name in {
            *knobs,
            "train",
            "architecture",
            "loss",
            "inferer",
            "reference_dir",
            "bundle",
            "output_dir",
        }
