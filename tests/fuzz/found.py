"""Cases on which lossdoctor and Keras once disagreed, made smaller: each has a rule that was changed for it."""

from __future__ import annotations

from dataclasses import replace

from tests.fuzz.spec import Case, Feed, Loss, Metric, Output, Target, Weights

Z, A = Output("z", (1,)), Output("a", (1,))
ONE, TWO = Target("numbers", (3, 1), 1), Target("numbers", (3, 1), 2)
MSE, MAE = Loss("mse"), Loss("mae")
_CLASSES = Output("z", (3,), "softmax")
_WHOLE = Loss("whole", "function")
SEQUENCE = Output("z", (2, 1), masked=True)
_FLAT, _ROW = Output("z", ()), Target("numbers", (3,), 1)
SEQUENCES = tuple(Output(name, (3, 1)) for name in ("m", "z", "a"))
DEEP = Case(3, {"g": [Z, A], "m": Output("m", (1,))}, {"g": [[MSE, MAE]], "m": MSE}, {"g": [ONE, TWO], "m": ONE})

FOUND: dict[str, Case] = {
    # LD401: trains the sum's gradient under the mean's value (TensorFlow), raises (JAX).
    "no reduction": Case(3, Z, Loss("mse", "object", None), ONE),
    # LD404: the last axis of an output (N,) is the samples.
    "a sum over (N,)": Case(3, _FLAT, Loss("mse", "object", "sum"), _ROW),
    "sample weights on (N,)": Case(3, _FLAT, MSE, _ROW, None, Weights((3,), 1)),
    "(N,) as it is": Case(3, _FLAT, MSE, _ROW),
    # LD532: y is a list for one output; the weights stay in a list, and become (1, N, 1).
    "a column of weights and a list of one target": Case(3, Z, MSE, [ONE], None, Weights((3, 1), 1)),
    "weights and a list of one target": Case(3, Z, MSE, [ONE], None, Weights((3,), 1)),
    # LD703 must not fall over a target without rows.
    "one axis under a loss for rows": Case(
        2,
        {"z": _FLAT, "m": Output("m", (2,), "softmax")},
        [Loss("cubed", "scalar"), Loss("categorical_crossentropy")],
        {"m": Target("rows", (2, 2), 1, 2), "z": Target("numbers", (2,), 2)},
    ),
    # LD504 tells of two losses of one output, which a list of one target lets Keras add up.
    "two losses of one output": Case(3, Z, [MSE, MAE], [ONE]),
    "two losses of one output, and one target": Case(3, Z, [MSE, MAE], ONE),
    # LD203 took a swap for the order of the sorted names, as one target lacked its last axis.
    "swapped, one target without its last axis": Case(
        3, {"z": Z, "a": A}, {"z": None, "a": MSE}, [ONE, Target("numbers", (3,), 2)]
    ),
    # LD301: an output (N, T, 1) is squeezed for a target (N, T), and T becomes the axis of the mean.
    "a sum over squeezed steps": Case(
        3, Output("z", (2, 1)), Loss("huber", "object", "sum"), Target("numbers", (3, 2), 1)
    ),
    "a mean over squeezed steps": Case(3, Output("z", (2, 1)), Loss("huber"), Target("numbers", (3, 2), 1)),
    # LD532 did not see which steps the weights ran along, behind a reshape.
    "weights along the steps, behind a reshape": Case(
        2,
        {"m": Output("m", (2, 2), "softmax")},
        {"m": Loss("crossentropy")},
        {"m": Target("classes", (2, 2), 0, 2, "int64")},
        None,
        {"m": Weights((2,), 10)},
    ),
    # LD511: a weight under a name that no output has.
    "a misspelt weight that lands elsewhere": Case(
        3, {"z": Z, "a": A}, {"z": MSE, "a": MSE}, {"z": ONE, "a": TWO}, {"a": 2.0, "Z": 5.0}
    ),
    "a misspelt weight that lands by luck": Case(
        3, {"z": Z, "a": A}, {"z": MSE, "a": MSE}, {"z": ONE, "a": TWO}, {"a": 2.0, "zz": 5.0}
    ),
    # LD204 saw a crossing only where two of the losses that are called have different names.
    "a list of losses with None for an output": Case(3, {"z": Z, "a": A}, [MSE, None], {"z": ONE, "a": TWO}),
    "a level of losses with None for an output": Case(
        3, {"m": {"z": Z, "a": A}}, [[MSE, None]], {"m": {"z": ONE, "a": TWO}}
    ),
    "losses of one name and two reductions": Case(
        3, {"z": Z, "a": A}, [MSE, Loss("mse", "object", "sum")], {"z": ONE, "a": TWO}
    ),
    "losses that are alike, crossed": Case(3, {"z": Z, "a": A}, [MSE, MSE], {"z": ONE, "a": TWO}),
    # One target for the one output that has a loss.
    "one target for the output that is trained": Case(3, {"z": Z, "a": A}, {"z": MSE, "a": None}, ONE),
    # LD203 took one array for two outputs for a swap.
    "one target for both outputs, in a list": Case(3, {"z": Z, "a": A}, MSE, [ONE, ONE]),
    # LD203: a flat list for outputs that are a list with a dict in it.
    "a flat list for nested outputs": Case(
        3, [{"z": Z, "a": A}, Output("m", (1,))], MSE, [ONE, TWO, Target("numbers", (3, 1), 3)]
    ),
    # LD504 told two losses of one output as a note, though another was left without.
    "losses in a container too many": Case(
        3, [[Z, A], Output("m", (1,))], [[[MSE, MAE], MSE]], [[ONE, TWO], Target("numbers", (3, 1), 3)]
    ),
    # LD532 went by Keras's own losses alone.
    "a column of weights, a list of one target and a user's loss": Case(
        3, [Z], [Loss("cubed")], [ONE], None, [Weights((3, 1), 1)]
    ),
    "one weight for all in a list": Case(
        3, {"a": {"z": Z, "m": A}}, MSE, {"a": {"z": ONE, "m": TWO}}, [{"a": {"z": 3.0, "m": 3.0}}]
    ),
    # LD204 again: "crossentropy" is what the targets make of it, so that this crossing changes nothing.
    "a crossing that changes nothing": Case(
        3,
        {n: Output(n, (3,), "softmax") for n in ("z", "a", "c")},
        [Loss("crossentropy"), Loss("categorical_crossentropy"), Loss("crossentropy")],
        {
            "z": Target("classes", (3,), 1, 3, "int64"),
            "a": Target("rows", (3, 3), 2, 3),
            "c": Target("rows", (3, 3), 3, 3),
        },
    ),
    "losses by place in a dict in a tuple": Case(
        3, ({"z": Z, "a": A}, Output("m", (1,))), ([MSE, MAE], MSE), ({"z": ONE, "a": TWO}, ONE)
    ),
    # Batches of one row: no other sample's target can be met.
    "one number for two values, in a batch of one row": Case(1, Output("z", (2, 1)), MSE, Target("numbers", (1,), 20)),
    "one number for one value, in a batch of one row": Case(1, Output("z", (1, 1)), MSE, Target("numbers", (1,), 20)),
    # LD302: with more rows every sample meets other samples' targets; in one row each value has its own (a warning).
    "an axis too many, in a batch of one row": Case(
        1, Output("z", (3,)), MSE, Target("numbers", (1, 1, 3), 1), None, Weights((1,), 10)
    ),
    # LD203 took two arrays of the same numbers and other shapes for a swap.
    "the same number in two shapes": Case(
        1,
        {"z": Output("z", (1,), "sigmoid"), "cls": Output("cls", (1,), "sigmoid")},
        {"z": [Loss("binary_crossentropy")], "cls": None},
        [Target("bits", (1, 1), 0, 2, "int64"), Target("bits", (1,), 1, 2)],
    ),
    # LD532 went by the output's axes, of which Keras squeezes the last.
    "weights a step, and a target without the last axis": Case(
        3,
        [Output("a", (3, 1), "sigmoid")],
        Loss("binary_crossentropy"),
        [Target("bits", (3, 3), 30, 2)],
        None,
        [Weights((3, 3), 10)],
    ),
    # LD204 went by how the losses are written, where Keras does the same with both.
    "a loss by name and the same as an object, crossed": Case(
        3,
        {"z": Output("z", (3,), "softmax"), "a": Output("a", (3,), "softmax")},
        [Loss("categorical_crossentropy"), Loss("categorical_crossentropy", "object")],
        {"z": Target("rows", (3, 3), 1, 3), "a": Target("rows", (3, 3), 2, 3)},
        {"z": 3.0, "a": 2.0},
    ),
    "two reductions that do the same without weights, crossed": Case(
        3, {"z": Z, "a": A}, [Loss("mse", "object", "mean_with_sample_weight"), MSE], {"z": ONE, "a": TWO}
    ),
    # LD204 told of crossed losses as silent where fit raises, and nothing told why it does.
    "crossed losses, and fit raises": Case(
        4,
        {"z": Output("z", (3,), "softmax"), "a": Output("a", (2, 3), "softmax"), "cls": Output("cls", (1,))},
        [Loss("crossentropy"), Loss("sparse_categorical_crossentropy", "object", None), Loss("cubed", "scalar")],
        [
            Target("classes", (4, 1), 10, 3, "int64"),
            Target("classes", (4, 2, 1), 21, 3, "int64"),
            Target("numbers", (4, 1), 2),
        ],
    ),
    # LD532: Keras looks for the weights of a nested output inside of the one array.
    "one array of weights, nested outputs and a flat list of targets": Case(
        3, (Output("m", (1,)), (Z, A)), MSE, [Target("numbers", (3, 1), 3), ONE, TWO], None, Weights((3, 1), 10)
    ),
    "one weight a sample, nested outputs and a flat list of targets": Case(
        3, (Output("m", (1,)), (Z, A)), MSE, [Target("numbers", (3, 1), 3), ONE, TWO], None, Weights((3,), 10)
    ),
    # LD203: JAX's trace of a model without a graph sorts the keys of its outputs.
    "a dict of outputs that a subclassed model returns, and a list of targets": Case(
        3, {"z": Z, "a": A}, MSE, [ONE, TWO], made="subclassed"
    ),
    # LD532: drawn beyond 0..1, the predictions of an output whose last layer is not known had hardly any gradient.
    "weights along the steps of a subclassed model": Case(
        2,
        [Output("cls", (2, 2), "softmax"), Output("z", (1,), "sigmoid")],
        [Loss("crossentropy"), Loss("binary_crossentropy")],
        [Target("rows", (2, 2, 2), 0, 2), Target("bits", (2,), 11, 2)],
        None,
        [Weights((2,), 10), Weights((2,), 11)],
        made="subclassed",
    ),
    # LD302: with two rows, one row less broadcasts against everything; with three rows it is told.
    "as many rows as steps of a masked output, two": Case(2, SEQUENCE, MSE, Target("numbers", (2, 2), 1)),
    "as many rows as steps of a masked output, three, and a loss of the user's own": Case(
        3, replace(SEQUENCE, shape=(3, 1)), Loss("cubed", "function"), Target("numbers", (3, 3), 1)
    ),
    "as many rows as steps of a masked output, and weights": Case(
        3, replace(SEQUENCE, shape=(3, 1)), MAE, Target("numbers", (3, 3), 1), None, Weights((3,), 10)
    ),
    # Only a metric takes another axis for the samples.
    "class numbers under a metric for rows, in a batch of as many": Case(
        3,
        [_CLASSES, replace(SEQUENCE, name="a", shape=(3, 2))],
        [Loss("crossentropy"), Loss("log_cosh")],
        [Target("classes", (3,), 11, 3, "int64"), Target("numbers", (3, 3, 2), 32)],
        metrics=[[Metric("mse", "object")], []],
    ),
    # LD401: TensorFlow stacks the losses that layers add with the compiled ones, which must have one shape.
    "an unreduced loss beside regularizers": Case(
        2, Z, Loss("mse", "object", None), Target("numbers", (2, 1), 1), regularized=True
    ),
    # LD505: compiled, and nothing to train.
    "a model that is compiled without a loss": Case(3, Z, None, ONE),
    # Only the regularizers have a gradient, which is enough for `fit`; they may be what is meant.
    "no output with a loss beside regularizers": Case(
        1, {"m": replace(Z, name="m"), "box": replace(Z, name="box")}, {"m": None}, [ONE, ONE], regularized=True
    ),
    # LD902: on JAX `fit` checks the names of x in a symbolic call that `predict` does not make.
    "a misspelt name in x": Case(3, Z, MSE, ONE, inputs={"u": "u", "k": "k"}, x={"u": Feed(0), "ks": Feed(1)}),
    # LD203: the same classes in two encodings, which may as well be exchanged.
    "one target as rows and as class numbers": Case(
        3,
        {"z": _CLASSES, "a": replace(_CLASSES, name="a")},
        Loss("crossentropy"),
        [Target("rows", (3, 3), 1, 3), Target("classes", (3,), 1, 3, "int64")],
    ),
    # LD804: `fit` raises, and what was told alone would not raise.
    "a target too many for nested outputs, in a batch of one": Case(
        1,
        [Output("m", (1,)), {"z": Output("z", (2,)), "a": Output("a", (3, 2))}],
        Loss("log_cosh"),
        [
            Target("numbers", (1, 1), 1),
            {"z": Target("numbers", (1, 2), 2), "a": Target("numbers", (1, 3, 2), 3)},
            Target("numbers", (1, 1), 1),
        ],
    ),
    # LD511: the weights of the only group, under another key, are those that count.
    "a group of weights under another name": Case(
        3,
        {"g": {"z": Z, "a": A}},
        {"g": {"z": MSE, "a": MAE}},
        {"g": {"z": ONE, "a": TWO}},
        {"h": {"a": 2.0, "z": 3.0}},
    ),
    # LD511: one loss, and a weight that names one of two outputs.
    "a weight for one output, and one loss for both": Case(3, {"z": Z, "a": A}, MSE, {"z": ONE, "a": TWO}, {"a": 0.5}),
    # Crossed, though by luck of one row's numbers the losses and gradients are those declared: LD203 says so, rightly.
    "crossed targets of one row, far from both outputs": Case(
        1, {"z": Z, "a": A}, Loss("huber"), [Target("numbers", (1, 1), 4), Target("numbers", (1, 1), 5)]
    ),
    # LD302 tried the case with two rows, which a bare y with as many outputs may be taken apart into.
    "a bare target for the one output of two that has a loss": Case(
        3,
        {"z": Output("z", (3,), "sigmoid"), "a": Output("a", (3,), "sigmoid")},
        {"z": Loss("binary_crossentropy"), "a": None},
        Target("bits", (3, 3), 30, 2),
    ),
    "no loss for an output that is not there": Case(
        3, {"z": Z, "a": A}, {"z": MSE, "a": None, "extra": None}, {"z": ONE, "a": TWO}
    ),
    # One loss for a subtree, its targets in the outputs' containers and in another order.
    "a subtree with a loss": Case(
        3,
        {"g": {"z": Z, "a": A}, "m": Output("m", (1,))},
        {"g": _WHOLE, "m": MSE},
        {"m": ONE, "g": {"a": TWO, "z": ONE}},
    ),
    "a weighted subtree, and targets by place": Case(
        3, [[Z, A], Output("m", (1,))], [_WHOLE, MSE], [[ONE, TWO], ONE], [2.0, 10.0], Weights((3,), 1)
    ),
    "a subtree of sorted keys under a sum": Case(
        3, {"g": {"z": Z, "a": A}}, {"g": Loss("whole", "object", "sum")}, [[ONE, TWO]]
    ),
    # LD504 looked for losses one container too deep at the top alone (JAX; TensorFlow reads them as meant).
    "losses one list too deep below a key": DEEP,
    # LD302 looked at losses of one output only.
    "a user's loss of a subtree that broadcasts at one output": Case(
        2,
        [[_FLAT, Output("a", ())]],
        [Loss("whole", "object")],
        [[Target("numbers", (2,), 20), Target("numbers", (2, 1), 21)]],
        made="subclassed",
    ),
    # LD532: CompileLoss looks for sample_weight[1][0] where an output is y_pred[1][0], in a flat list of weights, too.
    "a flat list of weights for nested outputs": Case(
        3,
        (SEQUENCES[0], SEQUENCES[1:]),
        MSE,
        [Target("numbers", (3, 3, 1), i) for i in (1, 3, 2)],
        None,
        [Weights((3, 3), 1), Weights((3,), 2), Weights((3,), 3)],
    ),
    "a column of weights for a subtree": Case(
        3, [(Z, A), Output("m", (1,))], [_WHOLE, MSE], [(ONE, TWO), ONE], None, Weights((3, 1), 1)
    ),
    # LD404: one number is multiplied with the weights, and not divided by them.
    "a weighted mean of one number": Case(
        1, _FLAT, Loss("mae", "object", "mean_with_sample_weight"), Target("numbers", (1,), 0), None, Weights((1,), 10)
    ),
    # LD511: one weight for the one loss, which is that of a subtree.
    "a weight under no output's name for a subtree": Case(
        2,
        ({"z": Z, "a": A},),
        (_WHOLE,),
        ({"z": Target("numbers", (2, 1), 1), "a": Target("numbers", (2, 1), 2)},),
        {"o": 2.0},
    ),
    "weights of a subtree and an output that a list of losses crosses": Case(
        3, {"z": [Z, A], "m": Output("m", (1,))}, [_WHOLE, MSE], {"z": [ONE, TWO], "m": ONE}, {"m": 2.0, "z": 10.0}
    ),
    "no loss for a subtree": Case(
        3,
        {"g": (Z, A), "m": Output("m", (1,))},
        {"g": None, "m": MSE},
        {"m": ONE, "g": (ONE, TWO)},
        {"g": 2.0, "m": 10.0},
    ),
    "two misspelt keys for an output and a group": Case(
        3, [Output("m", (1,)), [Z, A]], [MSE, [MAE, MAE]], {"o0": ONE, "o1": [ONE, TWO]}
    ),
    # LD201 looked for the key itself among the pairs, not for what stands below it.
    "a misspelt group that comes before a name": Case(
        3, [Output("m", (1,)), [Z, A]], [MSE, [MAE, MAE]], {"z": ONE, "o1": [ONE, TWO]}
    ),
    # LD503 took the container too many for a list that is too short, and filled it with None.
    "losses in two containers too many": Case(3, [[Z, A], Output("m", (1,))], [[[[MSE, MAE], MSE]]], [[ONE, TWO], ONE]),
    # LD503 looked at lists in lists only; TensorFlow calls each of these losses with all three.
    "losses in a list below a key that is too short": Case(
        3, {"g": [Output("m", (1,)), Z, A]}, {"g": [MSE, MAE]}, {"g": [ONE, TWO, ONE]}
    ),
    "a loss of all in a list of its own below a key": Case(
        3, {"g": [Z, A]}, {"g": [Loss("whole", "object", "sum")]}, {"g": [ONE, TWO]}
    ),
    # LD103 looked at the top only: what has no loss is taken out of the outputs, and the number of the rest fits.
    "one target for two outputs of a group, beside an output without a loss": Case(
        3, {"g": [Z, A], "m": Output("m", (1,))}, {"g": [MSE, MSE], "m": None}, {"g": [ONE], "m": TWO}
    ),
    "too many targets for a group": Case(
        3, {"g": [Z, A], "m": Output("m", (1,))}, {"g": [MSE, MSE], "m": MSE}, {"g": [ONE, TWO, ONE], "m": TWO}
    ),
    # LD531 compared the top only, and its repair gave a group the weights of another output.
    "one array of weights for a group": Case(
        3,
        {"g": [Z, A], "m": Output("m", (1,))},
        {"g": [MSE, MSE], "m": MSE},
        {"g": [ONE, TWO], "m": TWO},
        sample_weight={"g": [Weights((3,), 1)], "m": Weights((3,), 2)},
    ),
    # LD204 said that a list of losses is dealt out in sorted order; losses of groups are called with all outputs.
    "losses of two groups in a list": Case(
        3,
        {"g": [Z, A], "h": [Output("m", (1,)), Output("b", (1,))]},
        [Loss("whole", "function"), Loss("whole", "function")],
        {"g": [ONE, TWO], "h": [TWO, ONE]},
    ),
    # LD203 took class numbers for a target of another shape, and the sorted order for the better one.
    "class numbers for the only trained output, by place": Case(
        2,
        {name: Output(name, (2, 3), "softmax") for name in ("m", "box")},
        {"box": Loss("crossentropy")},
        [Target("rows", (2, 2, 3), 30, 3), Target("classes", (2, 2), 1, 3)],
    ),
    # LD503 warned of each; TensorFlow calls both losses with both outputs.
    "one of a group's losses in a list of its own": Case(
        3, {"m": Output("m", (1,)), "g": [Z, A]}, {"m": MSE, "g": [MSE, [MAE]]}, {"m": ONE, "g": [ONE, TWO]}
    ),
    # LD511: right by luck, and not.
    "weights by the names of outputs below a key": Case(
        3,
        {"m": Output("m", (1,)), "g": {"z": Z, "a": A}},
        {"m": MSE, "g": {"z": MSE, "a": MAE}},
        {"m": ONE, "g": {"z": ONE, "a": TWO}},
        {"m": 1.0, "z": 2.0, "a": 3.0},
    ),
    "weights by the names of outputs below a key that comes first": Case(
        3,
        {"m": Output("m", (1,)), "b": {"z": Z, "a": A}},
        {"m": MSE, "b": {"z": MSE, "a": MAE}},
        {"m": ONE, "b": {"z": ONE, "a": TWO}},
        {"m": 1.0, "z": 2.0, "a": 3.0},
    ),
    # LD201 told as an error what is paired right by luck.
    "the only group under another name": Case(3, {"g": [Z, A]}, {"g": [MSE, MAE]}, {"b": [ONE, TWO]}),
    # LD204: the only group is all outputs.
    "the loss of the only group in a list": Case(3, {"g": [Z, A]}, [Loss("whole", "object", "sum")], {"g": [ONE, TWO]}),
    # LD302 looked from one sample to another, of which one row has none.
    "one row, whose steps meet each other under a user's loss": Case(
        1, Output("z", (2, 1)), Loss("cubed", "object"), Target("numbers", (1, 2), 12)
    ),
    # LD511: weights of a group name its outputs.
    "a misspelt weight beside a group, and all weights alike": Case(
        3,
        {"m": Output("m", (1,)), "g": {"z": Z, "a": A}},
        {"m": MSE, "g": {"z": MSE, "a": MAE}},
        {"m": ONE, "g": {"z": ONE, "a": TWO}},
        {"ms": 0.5, "g": {"z": 0.5, "a": 0.5}},
    ),
    # LD505 was told of no `loss` at all (JAX: fit trains nothing).
    "a loss that is None for all": Case(3, {"z": Z, "a": A}, {"z": None}, {"z": ONE, "a": TWO}),
    # LD503 counts places: None at that of a group is for all of it.
    "None for a group in a list of losses": Case(
        3,
        [Output("m", (1,)), [Z, A]],
        [MAE, None],
        [ONE, [ONE, TWO]],
        metrics=[[Metric("mse")], [[Metric("mse")], [Metric("mse")]]],
    ),
    "a loss for a group in a list, and None": Case(
        3, (Output("m", (1,)), (Z, A)), (None, _WHOLE), (ONE, (ONE, TWO)), (0.5, 2.0)
    ),
    # LD203: a bit is no class number, and what another loss would make of both is no matter.
    "crossed targets of one row, one of them a one-hot row of the other": Case(
        1,
        {"z": Output("z", (1,), "sigmoid"), "a": Output("a", (3,), "softmax")},
        MSE,
        [Target("bits", (1, 1), 10, 2), Target("rows", (1, 3), 21, 3)],
    ),
    # LD532: stacked weights are added up once an output.
    "weights of a subtree under a sum": Case(
        3, [[Z, A], Output("m", (1,))], [Loss("whole", "object", "sum"), MSE], [[ONE, TWO], ONE], None, Weights((3,), 1)
    ),
    # LD532: of one row no weight can be set to 0; weights of columns weigh none, in whatever order.
    "weights of the columns of one row": Case(
        1, Output("z", (3,)), MAE, Target("numbers", (1, 3), 20), None, Weights((1, 3), 11)
    ),
    "weights of the steps of one row": Case(
        1, Output("z", (3, 2)), MAE, Target("numbers", (1, 3, 2), 20), None, Weights((1, 3), 11)
    ),
    "a loss of Keras's own for a group": Case(3, [Output("m", (1,)), [Z, A]], [MSE, MSE], [ONE, [ONE, TWO]]),
    # LD301: one row's mask counts each of its steps.
    "a sum over the squeezed steps of one masked row": Case(
        1, SEQUENCE, Loss("mae", "object", "sum"), Target("numbers", (1, 2), 10)
    ),
    "a sum over the squeezed steps of masked rows": Case(
        2, SEQUENCE, Loss("mae", "object", "sum"), Target("numbers", (2, 2), 10)
    ),
    # LD532: what a function of the user's own returns has one axis less than its weights.
    "weights of squeezed steps under a function, as many steps as samples": Case(
        2, Output("z", (2, 1)), Loss("cubed", "function"), Target("numbers", (2, 2), 11), None, Weights((2, 2), 11)
    ),
    # LD404: of one row no weight can be set to 0.
    "weights of the steps of one row under a loss of one number": Case(
        1,
        (Output("z", (3, 2)), Output("a", (3, 2))),
        (MSE, Loss("cubed", "scalar")),
        (Target("numbers", (1, 3, 2), 20), Target("numbers", (1, 3, 2), 21)),
        None,
        (Weights((1, 3), 10), Weights((1, 3), 11)),
    ),
    # LD203: a container too many around the targets is flattened away, and their order counts all the same.
    "positional targets in a container too many": Case(
        4,
        ({"z": Z, "m": Output("m", (1,))},),
        {"z": MSE, "m": MAE},
        ([Target("numbers", (4, 1), 30), Target("numbers", (4, 1), 21)],),
    ),
    # LD511: the weight that names an output without a loss counts at the one that has it.
    "a weight at the output without a loss": Case(
        3, {"a": Z, "m": Output("m", (1,))}, {"m": MSE}, {"a": ONE, "m": TWO}, {"a": 0.5}
    ),
    # LD511: a key that names nothing, above weights that are all alike.
    "a group of equal weights under a key of its own": Case(
        3,
        ((Z, Output("m", (1,))),),
        ((MSE, MAE),),
        ((ONE, TWO),),
        {"o0": (10.0, 10.0)},
        made="subclassed",
    ),
    # LD532: of the two last axes of size 1 Keras squeezes one.
    "weights of two axes too many": Case(
        3, Output("z", (3,)), MSE, Target("numbers", (3, 3), 1), None, Weights((3, 1, 1), 1)
    ),
    # LD532: one weight, of however many axes, has no order.
    "one weight of two axes for one row": Case(
        1, [Output("a", ())], [MSE], (Target("numbers", (1,), 1),), None, Weights((1, 1), 1)
    ),
    # LD203, on TensorFlow.
    "positional targets, and a list of one loss": Case(
        3,
        {"cls": Output("cls", (2, 1)), "z": Output("z", (2, 1)), "box": Output("box", (2, 1))},
        {"cls": [Loss("huber")], "z": MSE, "box": MAE},
        [Target("numbers", (3, 2, 1), 20), Target("numbers", (3, 2, 1), 1), Target("numbers", (3, 2), 32)],
    ),
    # LD404: a target (N, 1) gives the output (N,) its axis.
    "a sum over an output without a last axis, under a column": Case(3, _FLAT, Loss("mse", "object", "sum"), ONE),
    # LD404: one number, of a loss of the user's own, is never divided by the weights.
    "a weighted mean of one number under a class of one's own": Case(
        1, _FLAT, Loss("cubed", "object", "mean_with_sample_weight"), Target("numbers", (1,), 1), None, Weights((1,), 1)
    ),
    # Declared order or sorted order: the shapes say which was meant.
    "targets by place that fit in sorted order alone": Case(
        4,
        {"m": Output("m", ()), "cls": Output("cls", ())},
        {"m": Loss("mse", "function")},
        [Target("numbers", (4, 4), 0), Target("numbers", (4,), 21)],
    ),
    # LD503: a list of one loss for the first of two outputs.
    "a loss for a group in a list of its own": Case(3, [[Z, A]], [[_WHOLE]], {"z": ONE, "a": TWO}),
    "targets by place that fit better in sorted order": Case(
        3,
        {"z": Output("z", (3, 2), "softmax"), "a": Output("a", (3, 2), "softmax")},
        {"z": None, "a": Loss("categorical_crossentropy")},
        [Target("rows", (3, 3, 2), 0, 2), Target("classes", (3, 3), 1, 2)],
    ),
    "targets by place of a group, which sorted order cannot take": Case(
        3,
        {"z": {"m": _CLASSES, "cls": replace(_CLASSES, name="cls")}, "box": replace(_CLASSES, name="box")},
        Loss("crossentropy"),
        [[Target("classes", (3,), 0, 3), Target("rows", (3, 3), 11, 3)], Target("classes", (3,), 2, 3)],
    ),
    # LD503: a container too many around all losses, one of them None.
    "a tuple of losses in a list of its own": Case(3, (Z, A, Output("m", (1,))), [(MSE, None, MAE)], (ONE, TWO, ONE)),
    # LD703, on TensorFlow: the last layer of a model whose class cannot be made from its config.
    "rows that do not sum to 1, and a subclassed model": Case(
        4,
        Output("cls", (3,), "softmax"),
        Loss("categorical_crossentropy"),
        Target("bits", (4, 3), 0, 2),
        made="subclassed",
    ),
    # A model of outputs in a list of one returns that one: the oracle took targets like it for too many.
    "targets like the only element of the outputs": Case(
        3, ([Z, {"a": A}],), {"z": MSE, "a": MAE}, [ONE, {"a": TWO}], None, [Weights((3,), 1), {"a": Weights((3,), 2)}]
    ),
    # LD532, on JAX: what shows that the weights miss the steps is all steps counting.
    "weights of the squeezed steps of one masked row": Case(
        1, SEQUENCE, Loss("cubed", "function"), Target("numbers", (1, 2), 21), None, Weights((1, 2), 11)
    ),
    # LD532: (N, K) weights where the loss has one value a sample.
    "several weights for the one value of each sample": Case(
        3, Output("a", (1, 2)), MSE, Target("numbers", (3, 1, 2), 20), None, Weights((3, 2), 10)
    ),
    "several weights for the one value of a single sample": Case(
        1, Output("a", (1, 2)), Loss("cubed", "function"), Target("numbers", (1, 1, 2), 20), None, Weights((1, 2), 10)
    ),
    # LD305: the repair keeps the loss's reduction.
    "class numbers under a sum of losses for rows": Case(
        3, _CLASSES, Loss("categorical_crossentropy", "object", "sum"), Target("classes", (3,), 1, 3)
    ),
    # The oracle: equal weights under keys that name nothing are each output's, with a loss or without.
    "equal weights of a group under other names, one output without a loss": Case(
        3, [[Z, Output("m", (1,))], A], [[None, MAE], MSE], [[ONE, TWO], ONE], [{"o0": 10.0, "o1": 10.0}, 10.0]
    ),
    # The oracle: which output a target by place is for is open where its rank is another than its own loss wants.
    "targets by place, one of them with an axis too many for its own loss": Case(
        3,
        {name: Output(name, (3, 2)) for name in ("m", "box", "cls")},
        {"m": Loss("log_cosh"), "box": Loss("cubed", "object"), "cls": Loss("cubed", "object")},
        [Target("numbers", (3, 3, 2), 20), Target("numbers", (3, 3, 2), 11), Target("numbers", (3, 3, 2, 1), 22)],
    ),
    # LD203: names for outputs in a tuple below a key, which Keras deals out in sorted order.
    "names for the outputs of a group in a tuple": Case(
        3,
        {"top": (Z, A), "m": Output("m", (1,))},
        {"top": (MSE, MAE), "m": MSE},
        {"top": {"z": ONE, "a": TWO}, "m": ONE},
    ),
    # LD201: no names at all, in another order than the alphabet's.
    "keys that name nothing for a group in a tuple": Case(
        3, [(A, Z), Output("m", (1,))], [(MSE, MAE), MSE], [{"o1": ONE, "o0": TWO}, ONE]
    ),
    "keys that name nothing for a group of a subclassed model": Case(
        3, [(A, Z), Output("m", (1,))], [(MSE, MAE), MSE], [{"o1": ONE, "o0": TWO}, ONE], made="subclassed"
    ),
    "one key that names nothing for a group in a tuple": Case(
        3, [(Z, A), Output("m", (1,))], [(MSE, MAE), MSE], [{"a": ONE, "o0": TWO}, ONE]
    ),
    # The oracle: equal weights, whosever they are.
    "equal weights under keys that name nothing, one of them a group's": Case(
        3, (Output("m", (1,)), (A, Z)), (MSE, (MAE, MSE)), (ONE, (ONE, TWO)), {"o0": 0.5, "o1": (0.5, 0.5)}
    ),
    # LD203: the weights are looked for by place, and KeyError: 0 was told as an error without a cause.
    "names for the outputs of a group in a tuple, and weights": Case(
        3,
        {"top": (Z, A), "m": Output("m", (1,))},
        {"top": (MSE, MAE), "m": MSE},
        {"top": {"z": ONE, "a": TWO}, "m": ONE},
        None,
        {"top": {"z": Weights((3,), 1), "a": Weights((3,), 2)}, "m": Weights((3,), 3)},
    ),
    # LD203 tried the declared pairing with the losses in a list, which Keras reads otherwise.
    "a flat list of targets, and a loss in a tuple for a group": Case(
        3,
        (Output("m", (1,)), {"z": Z, "a": A}),
        (MAE, Loss("whole", "object", "sum")),
        [Target("numbers", (3, 1), 0), ONE, TWO],
    ),
    # LD511: weights in a dict for the outputs of a group in a list.
    "named weights for the outputs of a group in a list": Case(
        3,
        {"top": [Z, A], "m": Output("m", (1,))},
        {"top": [MSE, MAE], "m": MSE},
        {"top": [ONE, TWO], "m": ONE},
        {"top": {"z": 3.0, "a": 0.5}, "m": 1.0},
    ),
    "weights under keys that name nothing for a group in a tuple": Case(
        3, [(Z, A), Output("m", (1,))], [(MSE, MAE), MSE], [(ONE, TWO), ONE], [{"o1": 3.0, "o0": 0.5}, 1.0]
    ),
    "weights under keys that name nothing, in the order of the outputs": Case(
        3, [(Z, A), Output("m", (1,))], [(MSE, MAE), MSE], [(ONE, TWO), ONE], [{"o0": 3.0, "o1": 0.5}, 1.0]
    ),
}
