import pytest

from models.data.sources import Selection
from models.dmn_plus import DMNPlusConfig
from models.presets import load_preset, options_from, presets
from models.training import TrainingOptions


def test_a_preset_has_all_its_tables():
    assert load_preset("dmn_plus", "tiny", []).keys() == {"data", "network", "learning", "training"}


def test_changes_are_toml_or_bare_words():
    changes = [
        "network.hidden=64",
        "training.learning_rate = 2e-3",
        "network.memory_update=deep",
        'network.sentence_encoder="learned"',
        "data.tasks=[1, 17]",
        "data.renamed={2 = 1}",
    ]
    preset = load_preset("dmn_plus", "single", changes)
    assert preset["network"]["hidden"] == 64
    assert preset["training"]["learning_rate"] == 2e-3
    assert preset["network"]["memory_update"] == "deep"
    assert preset["network"]["sentence_encoder"] == "learned"
    assert preset["data"] == {"source": "babi", "tasks": [1, 17], "renamed": {"2": 1}}


def test_a_change_leaves_the_preset_itself_alone():
    load_preset("dmn_plus", "tiny", ["network.hidden=3"])
    assert presets("dmn_plus")["tiny"]["network"]["hidden"] != 3


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("huge", None, "dmn_plus has no preset 'huge'; it has tiny, cpu, gpu, single, paper"),
        ("tiny", "hidden=3", r"'hidden=3' is not of the form table\.field=value \(tables: data, network, "),
        ("tiny", "net.hidden=3", r"'net\.hidden=3' is not of the form"),
        ("tiny", "network.hidden", r"'network\.hidden' is not of the form"),
    ],
    ids=["unknown preset", "no table", "unknown table", "no value"],
)
def test_what_is_not_there_is_refused_with_what_is(name, change, message):
    with pytest.raises(ValueError, match=message):
        load_preset("dmn_plus", name, [change] if change else [])


def test_options_take_the_types_of_their_fields():
    assert options_from(TrainingOptions, "training", {"clip": 5}).clip == 5.0
    assert options_from(Selection, "data", {"tasks": [1, 2]}).tasks == (1, 2)


@pytest.mark.parametrize(
    ("kind", "table", "values", "message"),
    [
        (
            TrainingOptions,
            "training",
            {"epoch": 3},
            "training has no field 'epoch'; it has epochs, learning_rate",
        ),
        (TrainingOptions, "training", {"epochs": "many"}, "Expected `int`, got `str` - at `training.epochs`"),
        (TrainingOptions, "training", {"epochs": 0}, "epochs must be at least 1, got 0"),
        (
            DMNPlusConfig,
            "network",
            {"memory_update": "gru"},
            "Invalid enum value 'gru' - at `network.memory_update`",
        ),
        (DMNPlusConfig, "network", {"answers": 3}, "network has no field 'answers'"),
    ],
    ids=["unknown field", "wrong type", "impossible value", "unknown choice", "field that the data decides"],
)
def test_a_wrong_field_is_named_with_its_table(kind, table, values, message):
    given = {"vocabulary": 7, "answers": 5} if kind is DMNPlusConfig else {}
    with pytest.raises(ValueError, match=message):
        options_from(kind, table, values, **given)
