"""Settings: where they are found, what they hold, and a sentence for every slip."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from lossdoctor.request import CheckCase, General, as_cases
from lossdoctor.settings.read import read_settings
from lossdoctor.settings.schema import schema_text
from lossdoctor.types import CaseError

CASE = '[[cases]]\nmodel = "m.keras"\nbatch = "b.npz"\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_schema_is_current_and_a_schema() -> None:
    shipped = files("lossdoctor.settings").joinpath("schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text()
    schema = json.loads(shipped)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"fail-on": "warning", "cases": [{"model": "a", "batch": "b", "loss": {"a": "mse"}}]}, schema)
    for wrong in ({"fail_on": "error"}, {"cases": [{"model": "a"}]}, {"severity": {"LD2": "loud"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_without_a_file_there_are_no_settings(here: Path) -> None:
    found = read_settings()
    assert (found.general, found.cases, found.file) == (General(), (), None)


def test_the_nearest_folder_wins_and_in_it_lossdoctor_toml(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = here / "a" / "b"
    inner.mkdir(parents=True)
    (here / "lossdoctor.toml").write_text('fail-on = "info"\n')
    monkeypatch.chdir(inner)
    assert read_settings().general.fail_on == "info"
    (here / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1\n")  # nothing of ours: looked past
    assert read_settings().general.fail_on == "info"
    (here / "a" / "pyproject.toml").write_text('[tool.lossdoctor]\nfail-on = "warning"\n')
    assert read_settings().general.fail_on == "warning"
    (here / "a" / "lossdoctor.toml").write_text('fail-on = "never"\n')
    assert read_settings().general.fail_on == "never"
    assert read_settings(str(here / "a" / "pyproject.toml")).general.fail_on == "warning"


def test_another_project_s_damaged_pyproject_is_not_our_matter(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.other\n")
    assert read_settings().file is None
    (here / "pyproject.toml").write_text("[tool.lossdoctor]\nselect = [\n")
    with pytest.raises(CaseError, match=r"^pyproject\.toml is not TOML"):
        read_settings()


def test_everything_that_can_be_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "lossdoctor.toml").write_text(
        'select = ["LD2", "LD4"]\nignore = ["LD402"]\nfail-on = "warning"\nobjects = ["my/losses.py", "pkg.losses"]\n'
        'baseline = "known.json"\n[severity]\nLD2 = "info"\nLD203 = "off"\n'
        '[per-case-ignores]\n"old-*" = ["LD401"]\n'
        '[[cases]]\nname = "old-one"\nmodel = "m.keras"\nbatch = "data"\nignore = ["LD106"]\nloss = {a = "mse"}\n'
        'loss-weights = "w.json"\nforward = true\nunsafe = true\nobjects = ["x.py"]\nselect = ["LD1"]\n'
        '[[cases]]\nmodel = "train.py:build"\nbatch = "pkg.data:batches"\n'
    )
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    found = read_settings()
    folder = str(here)
    assert found.file == str(Path("..") / "lossdoctor.toml")
    assert found.general == General(
        select=("LD2", "LD4"),
        ignore=("LD402",),
        objects=("../my/losses.py", "pkg.losses"),
        severity={"LD2": "info", "LD203": "off"},
        fail_on="warning",
        baseline="../known.json",
        folder=folder,
    )
    assert found.cases == (
        CheckCase(
            "../m.keras",
            "../data",
            "old-one",
            loss={"a": "mse"},
            loss_weights="../w.json",
            objects=("../x.py",),
            unsafe=True,
            forward=True,
            select=("LD1",),
            ignore=("LD401", "LD106"),
            folder=folder,
        ),
        CheckCase("../train.py:build", "pkg.data:batches", "train.py:build", folder=folder),
    )
    whole = found.general.apply(found.cases[0])
    assert whole.select == ("LD1",) and whole.ignore == ("LD402", "LD401", "LD106")
    assert whole.objects == ("../my/losses.py", "pkg.losses", "../x.py") and whole.severity["LD203"] == "off"
    assert whole.options()["loss"] == '{"a": "mse"}'


SLIPS = {
    'selct = ["LD2"]': "selct is no setting (did you mean 'select'?); known: select,",
    "fail_on = 'error'": "fail_on is no setting (did you mean 'fail-on'?)",
    "fail-on = 'eror'": "fail-on is 'eror' (did you mean 'error'?); it takes 'error', 'warning', 'info' or 'never'.",
    "select = 'LD2'": "select is a string, 'LD2'; it takes an array, as in [...].",
    "select = [2]": "select[0] is a number, 2; it takes a string.",
    "select = ['LD999']": "select: no rule has the code 'LD999' (did you mean 'LD",
    "ignore = ['']": "ignore: no rule has the code ''",
    "[severity]\nLD2 = 'of'": "severity.LD2 is 'of'",
    "[severity]\nLE2 = 'off'": "severity: no rule has the code 'LE2'",
    CASE + "bacth = 'b'": "cases[0].bacth is no setting (did you mean 'batch'?); known: model, batch, name,",
    CASE + "unsafe = 1": "cases[0].unsafe is a number, 1; it takes true or false.",
    CASE + "loss = 1979-05-27": "cases[0].loss holds what JSON cannot say",
    CASE + "ignore = ['LDX']": "cases[0].ignore: no rule has the code 'LDX'",
    CASE + "name = ''": "cases[0].name is empty",
    "[[cases]]\nmodel = 'm.keras'": "cases[0].batch is missing; name the batch.",
    CASE + CASE: "cases: 2 cases are called 'm.keras'; give each a name of its own.",
    "cases = ['m.keras']": "cases[0] is a string, 'm.keras'; it takes a table.",
    CASE + "[per-case-ignores]\n'n.keras' = ['LD1']": "per-case-ignores.n.keras fits no case (did you mean 'm.keras'?)",
    CASE + 'name = "a\\u001Bb"': "holds characters that cannot be printed",
    "x = [": "is not TOML",
}


@pytest.mark.parametrize("text", SLIPS)
def test_every_slip_gets_a_sentence_that_says_where(text: str, here: Path) -> None:
    (here / "lossdoctor.toml").write_text(text + "\n")
    with pytest.raises(CaseError) as caught:
        read_settings()
    said = str(caught.value)
    assert said.startswith("lossdoctor.toml") and SLIPS[text] in said, said
    assert "pydantic" not in said and all(line.endswith(".") for line in said.splitlines())


def test_two_slips_are_two_sentences(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.lossdoctor]\nselct = []\nfail-on = 3\n")
    with pytest.raises(CaseError) as caught:
        read_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_a_named_file_that_is_no_settings_file(here: Path) -> None:
    with pytest.raises(CaseError, match="there is no settings file gone.toml"):
        read_settings("gone.toml")
    (here / "pyproject.toml").write_text("[tool.other]\n")
    with pytest.raises(CaseError, match=r"has no \[tool\.lossdoctor\]"):
        read_settings("pyproject.toml")
    (here / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CaseError, match="is not UTF-8"):
        read_settings("b.toml")
    with pytest.raises(CaseError, match="cannot be read"):
        read_settings(str(here))


def test_cases_of_the_python_call() -> None:
    made = as_cases([("a.keras", Path("b.npz")), ("a.keras", "b.npz", {"loss": "mse"}, "two"), CheckCase("c", "d")])
    assert [c.name for c in made] == ["a.keras", "two", "c"]
    assert (made[0].batch, made[1].loss) == ("b.npz", "mse")
    assert as_cases([{"model": "m", "batch": "b", "ignore": "LD2"}])[0].ignore == ("LD2",)
    for wrong, said in (
        ([{"model": "m", "bacth": "b"}], "'bacth' is no option of a case (did you mean 'batch'?)"),
        ([("m", None)], "cases[0]: batch is missing"),
        ([3], "cases[0] is a int"),
        ([("m", "b"), ("m", "c")], "cases[1]: the name 'm' stands twice"),
    ):
        with pytest.raises(CaseError) as caught:
            as_cases(wrong)
        assert said in str(caught.value)
