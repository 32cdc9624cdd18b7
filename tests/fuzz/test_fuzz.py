"""A bounded part of `make fuzz`, the cases it once disagreed on, and what its oracle must know."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import judge, oracle, repaired
from tests.fuzz.__main__ import draw
from tests.fuzz.found import DEEP, FOUND
from tests.fuzz.real import BACKEND
from tests.fuzz.spec import Case, Feed, Loss, Metric, Output, Target, Weights, read

FOLDER = Path(__file__).parent
SEED, BOUNDED = 4_000_000, 16
Z, A = Output("z", (1,)), Output("a", (1,))
FIRST, SECOND = Target("numbers", (3, 1), 1), Target("numbers", (3, 1), 2)
MSE = Loss("mse")


@functools.cache
def drawn() -> list[Case]:
    """Cases of the first rounds, no two alike."""
    return list({case.key: case for number in range(3) for case in draw(SEED + number)}.values())


def test_lossdoctor_says_what_keras_does() -> None:
    """Whole trees, losses, weights: the real `fit` against what was declared, and what lossdoctor says of it."""
    told = [judge.judge(case, whole=True) for case in drawn()[:BOUNDED]]
    assert [(found.truth, found.said, found.why, found.case) for found in told if not found.agree] == []
    assert {found.truth for found in told} >= {"right", "raises"}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_once_a_disagreement(name: str) -> None:
    found = judge.judge(FOUND[name], whole=True)
    assert found.agree, (found.truth, found.said, found.why)


STEPS = Output("z", (2, 3), "softmax")
REPAIRED = {
    # LD204: the container too many is of the other kind, and Keras looks through it.
    "losses by place for a group, in a tuple of one": Case(
        3, [{"z": Z, "a": A}, Output("m", (1,))], ([[MSE, Loss("mae")], MSE],), [{"z": FIRST, "a": SECOND}, FIRST]
    ),
    "swapped targets": Case(3, {"z": Z, "a": A}, {"z": MSE, "a": Loss("mae")}, [FIRST, SECOND], [2.0, 10.0]),
    # LD522: `compile(metrics=None)` keeps those that were compiled before.
    "metrics that name no output": Case(
        3, [Z, A], MSE, [FIRST, SECOND], metrics={name: Metric("mae", "string") for name in ("o0", "o1")}
    ),
    # A repaired batch has arrays, whose equality is no single truth.
    "a loss that is not reduced, under names that Keras does not pair": Case(
        4,
        ({"m": Output("m", (3,), "sigmoid"), "box": Output("box_head", (3,), "sigmoid")},),
        ({"m": Loss("mse", "object", None), "box": Loss("binary_crossentropy")},),
        ({"m": Target("bits", (4, 3), 20, 2), "box": Target("bits", (4, 3), 21, 2)},),
        inputs=["u", "k"],
        x=[Feed(0), Feed(1)],
    ),
    # By elimination, the one group of targets is that of the one group of outputs.
    "one key too many misspelt, beside a group": Case(
        2,
        [Output("m", (2,)), (Z, A)],
        MSE,
        {"o0": Target("numbers", (2, 2), 0), "o1": (Target("numbers", (2, 1), 1), Target("numbers", (2, 1), 2))},
    ),
    # LD503: a tuple of losses for a list of outputs is called with all of them.
    "losses in a tuple where the outputs are in a list": Case(
        3,
        [Z, {"a": A, "m": Output("m", (1,))}],
        (MSE, Loss("whole", "function")),
        [FIRST, {"a": SECOND, "m": FIRST}],
    ),
    # LD531: by place, each its own.
    "weights in lists where the targets are in tuples": Case(
        3,
        (Z, (A, Output("m", (1,)))),
        (MSE, (MSE, MSE)),
        (FIRST, (SECOND, FIRST)),
        sample_weight=[Weights((3,), 1), [Weights((3,), 2), Weights((3,), 3)]],
    ),
    # LD503 filled them with None, LD504 took one container away.
    "losses in two containers too many": FOUND["losses in two containers too many"],
    "losses of two groups in a list": FOUND["losses of two groups in a list"],
    "weights of a subtree and an output that a list of losses crosses": FOUND[
        "weights of a subtree and an output that a list of losses crosses"
    ],
    "one array of weights for a group": FOUND["one array of weights for a group"],
    "a misspelt group that comes before a name": FOUND["a misspelt group that comes before a name"],
    "class numbers under a sum of losses for rows": FOUND["class numbers under a sum of losses for rows"],
    "names for the outputs of a group in a tuple": FOUND["names for the outputs of a group in a tuple"],
    "names for the outputs of a group in a tuple, and weights": FOUND[
        "names for the outputs of a group in a tuple, and weights"
    ],
    "named weights for the outputs of a group in a list": FOUND["named weights for the outputs of a group in a list"],
    "one key that names nothing for a group in a tuple": FOUND["one key that names nothing for a group in a tuple"],
    # LD501 offered to rename each to the group.
    "losses by the names of outputs below a key": Case(
        3,
        {"m": Output("m", (1,)), "g": {"z": Z, "a": A}},
        {"m": MSE, "z": MSE, "a": Loss("mae")},
        {"m": FIRST, "g": {"z": SECOND, "a": FIRST}},
    ),
    # LD804, the same: class numbers under metrics that want rows.
    "metrics that do not fit": Case(
        4,
        STEPS,
        Loss("crossentropy"),
        Target("classes", (4, 2), 30, 3),
        metrics=[Metric("mse", "object")],
    ),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_verified_repairs_give_the_declared_objective(name: str) -> None:
    tried, wrong = repaired.judge_repairs(REPAIRED[name])
    assert tried > 0 and wrong == []


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the other backends read these losses as they are meant")
def test_losses_that_are_called_with_all_outputs_of_a_group_are_repaired() -> None:
    tried, wrong = repaired.judge_repairs(FOUND["one of a group's losses in a list of its own"])
    assert tried > 0 and wrong == []


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow reads losses one list too deep as they are meant")
def test_losses_one_list_too_deep_are_repaired() -> None:
    tried, wrong = repaired.judge_repairs(DEEP)
    assert tried > 0 and wrong == []


def test_a_case_is_its_text_and_few_are_ambiguous() -> None:
    cases = drawn()
    assert all(read(repr(case)) == case for case in cases)
    ambiguous = 0
    for case in cases:
        try:
            oracle.declared(case)
        except oracle.NoMeaning:
            pass
        except oracle.Ambiguous:
            ambiguous += 1
    assert len(cases) > 100 and ambiguous / len(cases) < 0.03


def targets(case: Case) -> list[Target]:
    return [term.target for term in oracle.terms(case)]


def test_the_oracle_pairs_by_name_else_by_place() -> None:
    by_place = Case(3, {"z": Z, "a": A}, MSE, [FIRST, SECOND])
    assert targets(by_place) == targets(Case(3, {"z": Z, "a": A}, MSE, {"a": SECOND, "z": FIRST})) == [FIRST, SECOND]
    assert targets(Case(3, [Z, A], MSE, {"a": FIRST, "z": SECOND})) == [SECOND, FIRST]
    weights = [term.weight for term in oracle.terms(Case(3, [Z, A], [MSE, MSE], [FIRST, SECOND], {"a": 2.0, "z": 3.0}))]
    assert weights == [3.0, 2.0]


def test_losses_of_the_first_group_alone_leave_an_output_that_is_told() -> None:
    case = Case(3, [[Z, A], Output("m", (1,))], [[MSE, Loss("mae")]], [[FIRST, SECOND], FIRST])
    found = judge.judge(case)
    assert (found.truth, found.said, found.codes) == ("ambiguous", "silent", ("LD503",))


def test_the_oracle_knows_what_means_nothing() -> None:
    for given in (FIRST, [FIRST] * 3, {"z": FIRST}, {"z": FIRST, "a": SECOND, "b": SECOND}):
        with pytest.raises(oracle.NoMeaning):
            oracle.declared(Case(3, {"z": Z, "a": A}, MSE, given))
    with pytest.raises(oracle.NoMeaning):
        oracle.declared(Case(3, Z, MSE, Target("numbers", (3, 2), 1)))
    with pytest.raises(oracle.NoMeaning):
        oracle.declared(Case(3, Z, Loss("mse", "object", None), FIRST))


def test_the_objective_is_the_weighted_mean_by_definition() -> None:
    from tests.fuzz import numbers

    weights = Weights((3,), 1)
    case = Case(3, Z, MSE, FIRST, 2.0, weights)
    errors = numbers.kernel(Z)[:3].astype("float64") - numbers.target(FIRST)
    w = numbers.weights(weights)[:, None]
    declared = oracle.declared(case)
    assert declared.value == pytest.approx(2 * float(np.mean(w * errors**2)), rel=1e-6)
    np.testing.assert_allclose(declared.gradients["z"][:3], 4 * w * errors / 3, rtol=1e-5)


@pytest.mark.parametrize("module", ["oracle.py", "numbers.py", "spec.py", "cases.py"])
def test_the_oracle_is_independent(module: str) -> None:
    tree = ast.parse((FOLDER / module).read_text(encoding="utf-8"))
    froms = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = froms | {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert not [name for name in names if name.partition(".")[0] in ("lossdoctor", "keras", "tensorflow", "jax")]
