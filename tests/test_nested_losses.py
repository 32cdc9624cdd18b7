"""`nested_losses` and dotted paths, held against real Keras: the loss that `fit` logs against the sum computed output by output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path as File
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor import nested_losses, trees
from lossdoctor.paths import Path, index, pairs, parse, write
from tests.test_founding import FIXTURES, codes, load
from tests.test_founding import check as run_check

ROWS = 4
Box = namedtuple("Box", "corner size")
Loss = Callable[[Any, Any], Any]


def whole(factor: float) -> Loss:
    """A loss on any subtree: the squared errors of all its arrays, summed, times `factor`; one value a sample."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        flat = zip(keras.tree.flatten(y_true), keras.tree.flatten(y_pred), strict=True)
        return factor * sum(keras.ops.mean(keras.ops.square(keras.ops.subtract(t, p)), axis=-1) for t, p in flat)

    loss.__name__ = f"whole_{factor:g}".replace(".", "_")
    return loss


def build(widths: Any) -> tuple[Any, Any, Any]:
    """(model, x, y): one Dense layer an output, of the width that stands at its place."""
    keras.utils.set_random_seed(1)
    features = keras.Input((3,))
    model = keras.Model(features, trees.map_leaves(lambda n: keras.layers.Dense(n)(features), widths))
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 3)).astype("float32")
    return model, x, trees.map_leaves(lambda n: random.normal(size=(ROWS, n)).astype("float32"), widths)


def fitted(model: Any, x: Any, y: Any, loss: Any, loss_weights: Any, eager: bool = True) -> float:
    """The loss that the real `fit` logs for one whole batch, with weights that do not move."""
    model.compile(keras.optimizers.SGD(0.0), loss=loss, loss_weights=loss_weights, run_eagerly=eager)
    return float(model.fit(x, y, batch_size=ROWS, verbose=0).history["loss"][0])


def at(tree: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def by_hand(model: Any, x: Any, y: Any, terms: list[tuple[tuple[Any, ...], Any, float]]) -> float:
    """The sum over (place, loss, weight), each computed on its own from the model's outputs."""
    outputs = model(x)
    total = 0.0
    for steps, loss, weight in terms:
        function = keras.losses.get(loss)
        total += weight * float(np.mean(keras.ops.convert_to_numpy(function(at(y, steps), at(outputs, steps)))))
    return total


def agrees(
    widths: Any,
    losses: dict[Any, Any],
    weights: dict[Any, Any] | None,
    terms: list[tuple[tuple[Any, ...], Any, float]],
    cautious: bool = False,
) -> tuple[Any, Any]:
    """Assert that what `nested_losses` gives trains exactly `terms`; `cautious`: it must warn."""
    model, x, y = build(widths)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss, loss_weights = nested_losses(model, losses, weights)
    assert [w.category for w in caught if "nested_losses" in str(w.message)] == [UserWarning] * cautious
    as_given = (plain(loss), plain(loss_weights))
    assert fitted(model, x, y, loss, loss_weights) == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)
    return as_given


def plain(tree: Any) -> Any:
    """A copy, for TensorFlow wraps what compile is given in place."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, list) else tree


W, V = whole(1.0), whole(10.0)
# Not in sorted order, neither outside nor inside.
DETECTION = {"score": 1, "detection": {"size": 2, "bbox": 4}, "classes": 3}


def test_leaves_by_dotted_path_of_outputs_in_unsorted_order() -> None:
    loss, weights = agrees(
        DETECTION,
        {"detection.bbox": "mse", "classes": "mae", "detection.size": "mae", "score": "mse"},
        {"detection.bbox": 2, "score": 100.0, "detection.size": 7},
        [
            (("detection", "bbox"), "mse", 2),
            (("classes",), "mae", 1),
            (("detection", "size"), "mae", 7),
            (("score",), "mse", 100),
        ],
    )
    assert loss == {"score": "mse", "detection": {"size": "mae", "bbox": "mse"}, "classes": "mae"}
    assert weights == {"score": 100.0, "detection": {"size": 7.0, "bbox": 2.0}, "classes": 1.0}


def test_a_subtree_and_its_parts_at_once_each_with_its_weight() -> None:
    loss, weights = agrees(
        DETECTION,
        {"detection": W, "detection.bbox": "mae", "score": "mse"},
        {"detection": 3, "detection.bbox": 5, "score": 11},
        [(("detection",), W, 3), (("detection", "bbox"), "mae", 5), (("score",), "mse", 11)],
    )
    assert loss == {"score": "mse", "detection": [W, {"size": None, "bbox": "mae"}], "classes": None}
    assert weights == {"score": 11.0, "detection": [3.0, {"size": 1.0, "bbox": 5.0}], "classes": 1.0}


def test_a_traced_step_and_gradients_are_those_of_the_same_written_by_hand() -> None:
    updated = []
    for way in ("paths", "hand"):
        model, x, y = build(DETECTION)
        loss, weights = (
            nested_losses(model, {"detection": W, "detection.bbox": "mae", "score": "mse"}, {"detection.bbox": 5})
            if way == "paths"
            else (
                {"detection": [W, {"bbox": "mae"}], "score": "mse"},
                {"detection": [1.0, {"bbox": 5.0}], "score": 1.0},
            )
        )
        model.compile(keras.optimizers.SGD(0.1), loss=loss, loss_weights=weights)
        model.fit(x, y, epochs=2, verbose=0)
        updated.append([np.asarray(w) for w in model.get_weights()])
    assert all(np.array_equal(a, b) for a, b in zip(*updated, strict=True))


def test_without_weights_none_are_returned() -> None:
    assert agrees(DETECTION, {"detection": W}, None, [(("detection",), W, 1)])[1] is None


def test_two_losses_on_a_subtree_of_two_outputs_are_not_dealt_out_to_them() -> None:
    loss, _ = agrees(
        DETECTION,
        {"detection": [W, V], "score": "mse"},
        {"detection": [2, 3]},
        [(("detection",), W, 2), (("detection",), V, 3), (("score",), "mse", 1)],
    )
    # Measured: without the empty dict Keras gives W to bbox and V to size.
    model, x, y = build(DETECTION)
    dealt = fitted(model, x, y, {"detection": [W, V], "score": "mse"}, {"detection": [2.0, 3.0], "score": 1.0})
    terms = [(("detection", "bbox"), W, 2.0), (("detection", "size"), V, 3.0), (("score",), "mse", 1.0)]
    assert dealt == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)
    assert loss["detection"] == [W, V, {}]


def test_two_losses_on_one_output() -> None:
    terms = [(("score",), "mse", 2.0), (("score",), "mae", 3.0)]
    agrees(DETECTION, {"score": ["mse", "mae"]}, {"score": [2, 3]}, terms)
    agrees(DETECTION, {"score": ["mse", "mae"]}, {"score": 2}, [(s, f, 2.0) for s, f, _ in terms])


@pytest.mark.parametrize("names", [("0", "1"), ("dense_left", "dense_right")])
def test_a_flat_list_by_place_or_by_the_outputs_names(names: tuple[str, str]) -> None:
    features = keras.Input((3,))
    model = keras.Model(features, [keras.layers.Dense(2, name=n)(features) for n in ("dense_left", "dense_right")])
    x, y = np.ones((ROWS, 3)), [np.ones((ROWS, 2)), np.zeros((ROWS, 2))]
    loss, weights = nested_losses(model, {names[1]: "mae", names[0]: "mse"}, {names[1]: 9, names[0]: 4})
    assert (loss, weights) == (["mse", "mae"], [4.0, 9.0])
    terms = [((0,), "mse", 4.0), ((1,), "mae", 9.0)]
    assert fitted(model, x, y, loss, weights) == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)


def test_one_output_of_a_list_only() -> None:
    assert agrees([1, 2, 3], {"1": "mse"}, {"1": 2}, [((1,), "mse", 2)]) == ([None, "mse", None], [1.0, 2.0, 1.0])


def test_a_dict_in_a_list() -> None:
    agrees(
        [2, {"z": 1, "a": 3}],
        {"1": W, "1.z": "mae", "0": "mse"},
        {"1": 2, "1.z": 3, "0": 5},
        [((1,), W, 2), ((1, "z"), "mae", 3), ((0,), "mse", 5)],
    )


def test_lists_below_the_top_are_dealt_out_flat_so_that_every_backend_reads_them_alike() -> None:
    heads = {"heads": [{"score": 1, "box": 4}, {"score": 1, "box": 4}], "mask": 2}
    loss, weights = agrees(
        heads,
        {"heads.0.box": "mse", "heads.1.score": "mae", "mask": "mse"},
        {"heads.0.box": 2, "heads.1.score": 3},
        [(("heads", 0, "box"), "mse", 2), (("heads", 1, "score"), "mae", 3), (("mask",), "mse", 1)],
    )
    assert loss == {"heads": ["mse", None, None, "mae"], "mask": "mse"}
    assert weights == {"heads": [2.0, 1.0, 1.0, 3.0], "mask": 1.0}


def test_a_whole_list_and_its_parts_are_told_one_dict_further_up() -> None:
    loss, _ = agrees(
        {"pair": [1, 2], "mask": 2},
        {"pair": W, "pair.0": "mae", "pair.1": "mse", "mask": "mse"},
        {"pair": 3, "pair.0": 5, "pair.1": 7, "mask": 9},
        [(("pair",), W, 3), (("pair", 0), "mae", 5), (("pair", 1), "mse", 7), (("mask",), "mse", 9)],
    )
    assert loss == [{"pair": W, "mask": "mse"}, {"pair": ["mae", "mse"], "mask": None}]


def test_two_losses_on_an_output_in_a_list_below_the_top() -> None:
    terms = [(("pair", 0), "mse", 1.0), (("pair", 0), "mae", 1.0), (("pair", 1), "mse", 1.0)]
    agrees({"pair": [1, 2], "mask": 2}, {"pair.0": ["mse", "mae"], "pair.1": "mse"}, None, terms)


def test_a_subtree_in_a_list_below_the_top_trains_right_and_warns_of_saving() -> None:
    agrees(
        {"heads": [{"score": 1, "box": 4}, {"score": 1, "box": 4}], "mask": 2},
        {"heads.0": W, "heads.1.score": "mae"},
        {"heads.0": 2, "heads.1.score": 3},
        [(("heads", 0), W, 2), (("heads", 1, "score"), "mae", 3)],
        cautious=True,
    )


def test_the_whole_of_the_outputs() -> None:
    agrees(DETECTION, {"": W, "score": "mae"}, {"": 2, "score": 3}, [((), W, 2), (("score",), "mae", 3)])
    agrees([1, 2], {"": W}, None, [((), W, 1)], cautious=True)
    agrees([1, 2], {"": [W, V], "0": "mae"}, None, [((), W, 1), ((), V, 1), ((0,), "mae", 1)], cautious=True)
    agrees({"only": 2}, {"": W}, {"": 2}, [((), W, 2)])


def test_tuples_named_tuples_and_ordered_dicts() -> None:
    mixed = (1, {"b": 2, "a": 3})
    agrees(mixed, {"": W, "0": "mse", "1": V}, {"": 2, "0": 3}, [((), W, 2), ((0,), "mse", 3), ((1,), V, 1)])
    agrees(mixed, {"0": "mse", "1": V, "1.b": "mae"}, None, [((0,), "mse", 1), ((1,), V, 1), ((1, "b"), "mae", 1)])
    with pytest.raises(ValueError, match="misreads a tuple that lies in no dict"):
        nested_losses(mixed, {"": W, "1": V, "1.b": "mae"})
    agrees(
        {"k": (1, {"b": 2, "a": 3})},
        {"k.0": "mse", "k.1.b": "mae"},
        None,
        [(("k", 0), "mse", 1), (("k", 1, "b"), "mae", 1)],
    )
    agrees({"k": (1, {"b": 2, "a": 3}), "j": 1}, {"k.1": W}, None, [(("k", 1), W, 1)])
    agrees(
        {"box": Box(1, 2), "j": 1},
        {"box": [W, V], "box.1": "mae"},
        None,
        [(("box",), W, 1), (("box",), V, 1), (("box", 1), "mae", 1)],
    )
    agrees(
        OrderedDict(z=1, a=OrderedDict(y=2, b=3)),
        {"z": "mse", "a.b": "mae"},
        {"z": 2, "a.b": 3},
        [(("z",), "mse", 2), (("a", "b"), "mae", 3)],
        cautious=False,
    )


def test_one_output_takes_its_name_or_the_empty_path() -> None:
    features = keras.Input((3,))
    model = keras.Model(features, keras.layers.Dense(2, name="only")(features))
    assert nested_losses(model, {"only": "mse"}, {"only": 2}) == ("mse", 2.0)
    assert nested_losses(model, {"": "mse"}) == ("mse", None)
    assert nested_losses(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")]), {"*": "mse"}) == (
        "mse",
        None,
    )
    # Keras would use the first only.
    with pytest.raises(ValueError, match="one output and is given 2 losses"):
        nested_losses(model, {"only": ["mse", "mae"]})


def test_names_with_dots_are_quoted_and_an_exact_name_at_the_top_wins() -> None:
    outputs = {"a": {"b.c": {"d": 1}}, "a.b": 2}
    for quoted in ('a."b.c".d', "a.'b.c'.d"):
        assert nested_losses(outputs, {quoted: "mse"})[0] == {"a": {"b.c": {"d": "mse"}}, "a.b": None}
    assert nested_losses(outputs, {"a.b": "mse"})[0] == {"a": None, "a.b": "mse"}
    model, x, y = build({"a": {"b.c": {"d": 1, "e": 1}}, "x.y": 2})
    loss, weights = nested_losses(model, {'a."b.c".d': "mse", "x.y": "mae"}, {'a."b.c".*': 2, '"x.y"': 3})
    terms = [(("a", "b.c", "d"), "mse", 2.0), (("x.y",), "mae", 3.0)]
    assert fitted(model, x, y, loss, weights) == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)


def test_a_star_reaches_every_depth_and_the_more_specific_path_wins() -> None:
    outputs = {"d": {"a": 1, "s": {"x": 1, "y": 1}, "t": {"u": 1, "v": 1}}, "z": 1}
    agrees(
        outputs,
        {"*": "mse", "d.*": "mae", "d.s.x": "mse", "d.t": W},
        {"*": 2, "d.*": 3, "d.s.x": 5},
        [
            (("z",), "mse", 2),
            (("d", "a"), "mae", 3),
            (("d", "s", "x"), "mse", 5),
            (("d", "s", "y"), "mae", 3),
            (("d", "t"), W, 3),
        ],
    )
    loss, _ = nested_losses(outputs, {"d.*": "mse", "d.s": None, "d": W})
    assert loss == {"d": [W, {"a": "mse", "s": None, "t": {"u": "mse", "v": "mse"}}], "z": None}


def test_none_gives_no_loss_and_its_weight_is_kept_harmless() -> None:
    agrees(
        DETECTION,
        {"detection.*": "mse", "detection.size": None},
        {"detection.size": 4, "detection.bbox": 2},
        [(("detection", "bbox"), "mse", 2)],
    )
    with pytest.raises(ValueError, match="no loss in it"):
        nested_losses(DETECTION, {"score": None})


def test_values_may_be_nested_like_the_outputs() -> None:
    loss, weights = nested_losses(
        DETECTION, {"detection": [W, {"bbox": "mse"}], "detection.size": "mae"}, {"detection": [2, {"bbox": 3}]}
    )
    assert loss == {"score": None, "detection": [W, {"size": "mae", "bbox": "mse"}], "classes": None}
    assert weights == {"score": 1.0, "detection": [2.0, {"size": 1.0, "bbox": 3.0}], "classes": 1.0}


def test_the_keys_of_a_whole_subtree_are_that_subtree() -> None:
    terms = [(("detection",), W, 2.0)]
    agrees(DETECTION, {("detection.bbox", "detection.size"): W}, {("detection.size", "detection.bbox"): 2}, terms)
    agrees(DETECTION, {"detection.size, detection.bbox": W}, {"detection": 2}, terms)


@pytest.mark.parametrize(
    ("losses", "weights", "says"),
    [
        ({"detektion.bbox": "mse"}, None, ["losses: 'detektion.bbox'", "did you mean 'detection.bbox'", "'classes'"]),
        ({"bbox": "mse"}, None, ["'bbox' names no output", "did you mean 'detection.bbox'"]),
        ({"detection": {"box": "mse"}}, None, ["'detection.box' names no output"]),
        ({"score.x": "mse"}, None, ["'score.x' names no output"]),
        ({("score", "detection.bbox"): W}, None, ["'score' and 'detection.bbox' are no siblings", "nest them"]),
        ({("score", "classes"): W}, None, ["not the whole of a subtree", "'detection' belongs to it too"]),
        ({"score": 3}, None, ["'score' is given 3, which is no loss"]),
        ({"score": "mse", '"score"': "mae"}, None, ["'score' and '\"score\"' are the same place"]),
        ({"*.bbox": "mse"}, None, ["'*.bbox' has a * before its end"]),
        ({'detection."bbox': "mse"}, None, ["a quote that is not closed"]),
        ({"detection..bbox": "mse"}, None, ["an empty name"]),
        ({}, None, ["there is no loss in it"]),
        ({"score": "mse"}, {"scor": 2}, ["weights: 'scor' names no output", "did you mean 'score'"]),
        ({"score": "mse"}, {"classes": 2}, ["no loss stands at 'classes'; the losses are at 'score'"]),
        ({"detection.bbox": "mse"}, {"detection": 2}, ["no loss stands at 'detection' itself", "'detection.*'"]),
        ({"score": "mse"}, {"score": "much"}, ["'score' is given the weight 'much', which is no number"]),
        ({"score": "mse"}, {"score": [1, 2]}, ["2 weights for 1 losses"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_sentence(losses: Any, weights: Any, says: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        nested_losses(DETECTION, losses, weights)
    text = str(raised.value)
    assert all(part in text for part in says), text
    assert "\n" not in text and text.endswith(".")


def test_many_known_paths_are_cut_at_twelve() -> None:
    with pytest.raises(ValueError, match="'head_11' and 8 more"):
        nested_losses({f"head_{i:02}": 1 for i in range(20)}, {"nowhere": "mse"})


def test_a_subclassed_model_needs_its_outputs() -> None:
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"Own is a model whose outputs only a call shows.*nested_losses\(model\(x\)"):
        nested_losses(Own(), {"a": "mse"})


def test_outputs_may_be_arrays_or_specs() -> None:
    for outputs in (
        {"d": {"b": np.ones((2, 4)), "c": np.ones((2, 1))}},
        {"d": {"b": ((2, 4), "float32"), "c": ((2, 1), "float32")}},
        {"d": {"b": keras.KerasTensor((2, 4)), "c": keras.KerasTensor((2, 1))}},
    ):
        assert nested_losses(outputs, {"d.b": "mse"})[0] == {"d": {"b": "mse", "c": None}}


def test_a_saved_model_reads_the_same_losses_where_there_was_no_warning(tmp_path: File) -> None:
    keras.saving.register_keras_serializable("test_nested_losses")(W)
    for widths, losses in (
        (DETECTION, {"detection": W, "detection.bbox": "mae", "score": "mse"}),
        ({"pair": [1, 2], "mask": 2}, {"pair": W, "pair.0": "mae", "mask": "mse"}),
        ({"heads": [{"s": 1, "b": 4}, {"s": 1, "b": 4}]}, {"heads.0.b": "mse", "heads.1.s": "mae"}),
    ):
        model, x, y = build(widths)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            loss, weights = nested_losses(model, losses, {next(iter(losses)): 3})
        before = fitted(model, x, y, loss, weights)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={W.__name__: W})
        assert loaded.evaluate(x, y, batch_size=ROWS, verbose=0, return_dict=True)["loss"] == pytest.approx(
            before, rel=1e-4
        )


def test_lossdoctor_finds_nothing_wrong_with_what_it_made() -> None:
    for widths, losses, weights in (
        (DETECTION, {"detection.*": "mse", "score": "mse", "classes": "mse"}, {"detection.bbox": 2}),
        ({"pair": [1, 2], "mask": 2}, {"*": "mse"}, {"pair.1": 3}),
        ({"heads": [{"s": 1, "b": 4}, {"s": 1, "b": 4}]}, {"*": "mse"}, {"heads.1.b": 3}),
    ):
        model, x, y = build(widths)
        loss, loss_weights = nested_losses(model, losses, weights)
        report = lossdoctor.check(model, (x, y), loss=loss, loss_weights=loss_weights)
        assert [f.code for f in report.findings if f.severity != "info"] == []
        key, factor = next(iter(weights.items()))
        steps = index(widths).path_of(key)
        assert steps is not None
        code = "y_pred" + "".join(f"[{s}]" if s.isdigit() else f"[{s!r}]" for s in steps.steps)
        assert [p.weight for p in report.pairs if p.output == code] == pytest.approx([factor])


# properties

NAMES = st.text(min_size=0, max_size=8) | st.sampled_from(["a.b", "*", '"', "'", "\\", " ", "a,b", "0", '."', '\\"'])


@given(st.lists(NAMES, max_size=4), st.booleans())
def test_writing_and_parsing_a_path_round_trips(steps: list[str], below: bool) -> None:
    path = Path(tuple(steps), below)
    assert parse(write(path)) == path


WIDTHS = st.recursive(
    st.integers(1, 3),
    lambda child: (
        st.lists(child, min_size=2, max_size=3)
        | st.lists(child, min_size=2, max_size=3).map(lambda c: dict(zip(["z", "a.b", "m"], c, strict=False)))
        | st.tuples(child, child)
    ),
    max_leaves=6,
).filter(lambda tree: not isinstance(tree, int))


def places(tree: Any, steps: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    return [(steps, tree), *(found for key, child in pairs(tree) for found in places(child, (*steps, key)))]


@settings(
    max_examples=25 if keras.backend.backend() == "tensorflow" else 8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(WIDTHS, st.data())
def test_any_losses_on_any_outputs_train_as_said_or_are_refused(widths: Any, data: Any) -> None:
    found = places(widths)
    chosen = data.draw(st.lists(st.integers(0, len(found) - 1), min_size=1, max_size=5, unique=True))
    terms = [
        (found[i][0], (W, V, "mse", "mae")[n % (4 if isinstance(found[i][1], int) else 2)], float(n + 2))
        for n, i in enumerate(chosen)
    ]
    paths = [write(Path(tuple(map(str, steps)))) for steps, _, _ in terms]
    losses = {path: loss for path, (_, loss, _) in zip(paths, terms, strict=True)}
    weights = {path: weight for path, (_, _, weight) in zip(paths, terms, strict=True)}
    model, x, y = build(widths)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss, loss_weights = nested_losses(model, losses, weights)
    except ValueError as error:
        # Only a loss on a subtree inside lists and tuples that lie in no dict.
        assert "misreads a" in str(error) and not isinstance(widths, dict)
        return
    assert fitted(model, x, y, loss, loss_weights) == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)


# the command line


def test_dotted_losses_weights_and_metrics_on_the_command_line(capfd: Any) -> None:
    losses = {
        "detection.bbox": "mse",
        "detection.confidence": "binary_crossentropy",
        "classification": "categorical_crossentropy",
    }
    weights = {"detection.bbox": 5, "classification": 0.5}
    metrics = {"detection.bbox": ["mae"], "classification": "accuracy"}
    code, document = run_check(
        capfd, "keras_20351", "nested.keras", "batch.npz",
        "--loss", json.dumps(losses), "--loss-weights", json.dumps(weights), "--metrics", json.dumps(metrics),
    )  # fmt: skip
    assert (code, codes(document), document["verdict"]) == (0, [], "clean")
    assert {p["output"]: (p["loss"], p["weight"]) for p in document["pairs"]} == {
        "y_pred['detection']['bbox']": ("mean_squared_error", pytest.approx(5)),
        "y_pred['detection']['confidence']": ("binary_crossentropy", pytest.approx(1)),
        "y_pred['classification']": ("categorical_crossentropy", pytest.approx(0.5)),
    }
    # What the report says is what Keras trains: the same paths through the function, on the real model.
    model, x, y = load("keras_20351", "nested.keras", "batch.npz")
    loss, loss_weights = nested_losses(model, losses, weights)
    model.compile("sgd", loss=loss, loss_weights=loss_weights)
    got = model.test_on_batch(x, y, return_dict=True)["loss"]
    terms = [(tuple(path.split(".")), name, float(weights.get(path, 1))) for path, name in losses.items()]
    assert got == pytest.approx(by_hand(model, x, y, terms), rel=1e-4)


def test_dotted_weights_for_the_saved_losses_keep_them(capfd: Any) -> None:
    code, document = run_check(
        capfd,
        "keras_20351",
        "both_levels.keras",
        "batch.npz",
        "--loss-weights",
        '{"detection": 3, "detection.bbox": 5}',
    )
    assert (code, codes(document)) == (0, [])
    assert sorted((p["loss"], p["weight"]) for p in document["pairs"]) == [
        ("binary_crossentropy", pytest.approx(1)),
        ("categorical_crossentropy", pytest.approx(1)),
        ("mean_squared_error", pytest.approx(5)),
        ("whole_detection", pytest.approx(3)),
        ("whole_detection", pytest.approx(3)),
    ]


def test_a_star_on_the_command_line(capfd: Any) -> None:
    code, document = run_check(
        capfd,
        "keras_20351",
        "nested.keras",
        "batch.npz",
        "--loss",
        '{"*": "mse", "detection.*": "mae"}',
        "--metrics",
        '{"*": "mae"}',
    )
    assert code == 0, document["findings"]
    assert {p["output"]: p["loss"] for p in document["pairs"]} == {
        "y_pred['detection']['bbox']": "mean_absolute_error",
        "y_pred['detection']['confidence']": "mean_absolute_error",
        "y_pred['classification']": "mean_squared_error",
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--loss", '{"detection.bbox": "mse", "detection.confidense": "mse"}'], "--loss: 'detection.confidense' names no output (did you mean 'detection.confidence'"),
        (["--loss", '{"detection.bbox, classification": "mse"}'], "--loss: 'detection.bbox' and 'classification' are no siblings"),
        (["--loss", '{"detection.bbox": "mse"}', "--loss-weights", '{"detection": 2}'], "--loss-weights: no loss stands at 'detection' itself"),
        (["--loss", '{"detection": ["mse", "mae"], "classification.*": "mse"}'], "--loss: 'detection' is given a list of 2, which Keras deals out"),
        (["--metrics", '{"detection.bbox": "mae", "detection": "mae"}'], "--metrics: 'detection' is a subtree"),
    ],
)  # fmt: skip
def test_bad_paths_on_the_command_line_are_one_sentence(capfd: Any, options: list[str], says: str) -> None:
    from lossdoctor.cli import main

    fixture = FIXTURES / "keras_20351"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["lossdoctor", "check", f"{fixture}/nested.keras", f"{fixture}/batch.npz", *options])
        main.run()
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert says in " ".join(err.split()) and "Traceback" not in err


def test_keys_without_any_path_go_to_keras_as_they_are(capfd: Any) -> None:
    code, document = run_check(capfd, "keras_20351", "nested.keras", "batch.npz", "--loss", '{"detection.bbx": "mse"}')
    assert (code, codes(document)) == (1, ["LD501"])


def test_check_from_python_does_not_expand_paths() -> None:
    model, x, y = load("keras_20351", "nested.keras", "batch.npz")
    report = lossdoctor.check(model, (x, y), loss={"detection.bbox": "mse"})
    assert [f.code for f in report.findings if f.severity == "error"] == ["LD501"]


@pytest.mark.jax
def test_the_same_on_jax() -> None:
    if keras.backend.backend() == "jax":
        pytest.skip("this is that run")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not command_line and not as_they_are and not finds_nothing and not check_from"],
        env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
