"""Messages about targets and outputs in other containers, of other counts, or under other keys."""

from __future__ import annotations

from lossdoctor.explain.message import Message

_NAME = (
    "Name the targets after the outputs: y = {'output_name': array, ...}. A dict for dict outputs cannot be mispaired."
)
_SHOW = "`lossdoctor show MODEL BATCH` draws the targets beside the outputs."
_WHOLE = r"y_true and y_pred have different structures\.\s*y_true: "

STRUCTURE = (
    Message(
        "one target for several outputs",
        "y_true and y_pred have different structures. y_true: * y_pred: ['*', '*']",
        _WHOLE + r"\*\s*y_pred: (?P<outputs>[\[({].*)",
        "The model has several outputs, {outputs}, and fit was given one target for all of them, or none.",
        ("LD104", "LD103"),
        (
            "Check that fit got y at all.",
            "Give one target for each output, in the containers of the outputs.",
            "If one array holds all targets, cut it up: y = {{'box': y[:, :4], 'label': y[:, 4:]}}.",
            "If only some outputs have targets, compile with losses for those alone: loss={{'box': 'mse'}}.",
        ),
        seen="3.7.0 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "several targets for one output",
        "y_true and y_pred have different structures. y_true: ['*', '*'] y_pred: *",
        _WHOLE + r"(?P<targets>[\[({].*?)\s*y_pred: \*",
        "The model has one output, and the targets are a tree, {targets}.",
        ("LD103", "LD102"),
        (
            "Give the one array as it is: y = array, not [array] and not {{'name': array}}.",
            "A Python list of numbers counts as a tree too: use numpy.asarray(y).",
            "If there should be more outputs, look at what the model returns: print(model.output).",
        ),
        seen="3.7.0 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "target keys unlike the outputs'",
        "y_true and y_pred have different structures. y_true: {'a': '*'} y_pred: {'a': '*', 'b': '*'}",
        _WHOLE + r"(?P<targets>\{.*?)\s*y_pred: (?P<outputs>\{.*)",
        "Targets and outputs are dicts with different keys: the targets are {targets}, the outputs {outputs}.",
        ("LD202", "LD201"),
        (
            "Compare the keys letter by letter; the outputs' keys are those that the model returns, not the layers' names.",
            "Add the target that is missing, or compile with losses for the outputs that have one.",
            _SHOW,
        ),
        seen="3.7.0 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "targets unlike outputs",
        "y_true and y_pred have different structures. y_true: ['*', '*', '*'] y_pred: ['*', '*']",
        _WHOLE + r"(?P<targets>.*?)\s*y_pred: (?P<outputs>.*)",
        "The targets are arranged as {targets}, the outputs as {outputs} (each * is one array). Their counts or their nesting differ.",
        ("LD103", "LD102", "LD201", "LD101"),
        (
            "Count the stars: each output needs exactly one target.",
            _NAME.replace("{", "{{").replace("}", "}}"),
            "Targets that only a metric or your own code reads do not belong into y.",
            _SHOW,
        ),
        seen="3.7.0 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "trees differ (Keras 3.7)",
        "`a` and `b` don't have the same structure. Received: structure of a=PyTreeSpec([*]), structure of b=PyTreeSpec(*)",
        r"`a` and `b` don't have the same structure\. Received: structure of a=PyTreeSpec\((?P<targets>.*?), NoneIsLeaf.*?structure of b=PyTreeSpec\((?P<outputs>.*?), NoneIsLeaf",
        "A loss compared two trees that differ: the targets are {targets}, the predictions {outputs} (each * is one array).",
        ("LD101", "LD102", "LD103", "LD201"),
        (
            "Give the targets the containers, the keys and the nesting of the outputs.",
            "In a direct call, loss(y, y_pred), the two trees must be the same.",
            _SHOW,
        ),
        seen="3.7.0 with JAX",
    ),
    Message(
        "keys of trees differ",
        "dictionary key mismatch; expected key(s): ['a'], got key(s): ['b'], missing key(s): ['a'], extra key(s): ['b']",
        r"dictionary key mismatch; expected key\(s\): (?P<expected>\[.*?\]), got key\(s\): (?P<got>\[.*?\])",
        "Targets and predictions are dicts with different keys: one side has {expected}, the other {got}.",
        ("LD201", "LD202"),
        (
            "Give the targets the very keys of the outputs.",
            "Where this comes from a direct call loss(y, y_pred): the two trees must be the same, key by key.",
            _SHOW,
        ),
        seen="3.8.0 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "lengths of trees differ",
        "list arity mismatch; expected: 3, got: 2; list: [...]",
        r"(?P<container>\w+) arity mismatch; expected: (?P<expected>\d+), got: (?P<got>\d+)",
        "A {container} of {expected} arrays was compared with a {container} of {got}: there are more or fewer targets than outputs.",
        ("LD103",),
        (
            "Give each output exactly one target.",
            "Look at how many arrays the model returns: print(model.output).",
            _SHOW,
        ),
        seen="3.8.0 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "an array in place of a tree",
        "Expected an instance of list, got <tf.Tensor shape=(4, 1) dtype=float32>",
        r"Expected an instance of (?P<container>\w+)(?:, collections\.\w+)*(?:, or collections\.\w+)?, got (?P<got>(?:Traced|JitTracer|Array|array|<tf\.Tensor|tf\.Tensor|<KerasTensor)[^\n]*)",
        "At one place the targets hold a {container}, and the model has a single array there. The targets are nested deeper than the outputs.",
        ("LD102", "LD104"),
        (
            "Nest the targets as the outputs are nested: [a, b] for [out1, out2], not [[a], b].",
            "For a model with one output give the array itself.",
            _SHOW,
        ),
        seen="3.8.0 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "another container",
        "Expected an instance of tuple, got [...]",
        r"Expected an instance of (?P<container>\w+)(?:, collections\.\w+)*(?:, or collections\.\w+)?, got (?P<got>[\[({][^\n]*)",
        "Targets and predictions are in different containers: one is a {container}, the other starts with {got}. A loss that is "
        "called directly wants the same container on both sides; fit often repairs a tuple against a list by itself.",
        ("LD101", "LD102"),
        (
            "In a direct call, loss(y, y_pred): put y into the containers of y_pred, for instance list(y).",
            _NAME.replace("{", "{{").replace("}", "}}"),
            "To see what fit does with the same containers, run `lossdoctor check MODEL BATCH`.",
        ),
        seen="3.8.0 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "a container without a shape",
        "AttributeError: 'tuple' object has no attribute 'shape'",
        r"'(?P<container>tuple|list|dict|OrderedDict)' object has no attribute 'shape'",
        "Something read .shape of a {container}, where it expected one array: a loss was handed a whole tree. Keras 3.4 to 3.6 say this "
        "when a loss is called directly on trees; a custom loss says it when it takes one array and gets several.",
        ("LD101", "LD102", "LD103", "LD201"),
        (
            "Where your own loss is in the traceback: let it take the tree, or compile one loss for each output.",
            "In a direct call, give one target and one prediction: loss(y[0], y_pred[0]).",
            "Newer releases of Keras (3.7 and later) accept equal trees on both sides.",
        ),
        seen="3.4.1 to 3.6.0 with JAX and TensorFlow",
    ),
    Message(
        "None without a shape",
        "AttributeError: 'NoneType' object has no attribute 'shape'",
        r"'NoneType' object has no attribute '(?:shape|dtype)'",
        "A None stands where an array is due: a target or a sample weight is None, or a custom loss returns None.",
        ("LD105", "LD804", "LD103"),
        (
            "Leave the output out of the losses, loss={{'other': 'mse'}}, in place of a None among the targets.",
            "Check that every branch of your loss returns a value.",
            "Check that fit got y.",
        ),
        seen="3.4.1 to 3.11.3 with JAX and TensorFlow",
    ),
    Message(
        "None as a value",
        "ValueError: None values not supported.",
        r"None values not supported|None is not a valid value for jnp\.array|'NoneType' object is not iterable",
        "A None reached the loss or came out of it. Either fit got no targets, or one target is None, or a custom loss returns None "
        "(a forgotten return).",
        ("LD804", "LD105", "LD103"),
        (
            "Check that fit got y.",
            "Check that every branch of your custom loss returns a value.",
            "Leave an output without targets out of the losses, in place of a None among the targets.",
        ),
        seen="3.4.1 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "a key where an array is due",
        "ValueError: could not convert string to float: 'box'",
        r"could not convert string to float: '(?P<key>[^']*)'|Expected float32, but got (?P<name>\S.*?) of type 'str'",
        "Keras was handed the text '{key}{name}' where an array is due. When this is a key of your targets, the dict of targets did not fit the "
        "outputs, and Keras took the dict itself for one target: a key is misspelt, or the model has one output or a list of them.",
        ("LD201", "LD102"),
        (
            "Compare the targets' keys with the outputs', letter by letter.",
            "A model with one output takes the array itself: y = y['{key}{name}'].",
            "When the text is a value of your data, turn it into numbers first.",
            _SHOW,
        ),
        seen="3.8.0 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "targets not found",
        "There are keys: ['box'] in the `loss` argument, but they can't be found in `y` (`y_true`).",
        r"There are keys: (?P<keys>\[.*?\]) in the `loss` argument, but they can't be found in `y`",
        "There is a loss for {keys}, and the targets have no such key.",
        ("LD202", "LD201"),
        (
            "Add the target of that name, or take its loss out of compile.",
            "Compare the keys of y with those of the losses, letter by letter.",
            _SHOW,
        ),
        seen="3.5.0 to 3.6.0 with JAX",
    ),
)
