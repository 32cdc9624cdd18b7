"""Messages in PyTorch's own words."""

from __future__ import annotations

from lossdoctor.explain.message import Message

_CHECK = "To see which output and target these are, run `lossdoctor check MODEL BATCH`."

PYTORCH = (
    Message(
        "an array in place of a tree (PyTorch)",
        "Node type mismatch; expected <class 'list'>, but got <class 'torch.Tensor'>.",
        r"Node type mismatch; expected <class '(?P<container>[\w.]+)'>, but got <class 'torch\.\w+'>",
        "At one place the targets hold a {container}, and the model has a single array there. The targets are nested deeper than the outputs.",
        ("LD102", "LD104"),
        (
            "Nest the targets as the outputs are nested: [a, b] for [out1, out2], not [[a], b].",
            "For a model with one output give the array itself.",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "another container (PyTorch)",
        "Node type mismatch; expected <class 'tuple'>, but got <class 'list'>.",
        r"Node type mismatch; expected <class '(?P<container>[\w.]+)'>, but got <class '(?P<got>[\w.]+)'>",
        "Two trees are in different containers: one is a {container}, the other a {got}. A loss that is called directly wants the same container on both sides.",
        ("LD101", "LD102", "LD521"),
        (
            "In a direct call, loss(y, y_pred): put y into the containers of y_pred, for instance list(y).",
            "Where the message goes on with `metrics`: give them in the containers of the outputs.",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "keys of trees differ (PyTorch)",
        "Node keys mismatch; missing key(s): {'a'}; extra key(s): {'b'}.",
        r"Node keys mismatch; missing key\(s\): (?P<missing>\{.*?\})(?:; extra key\(s\): (?P<extra>\{.*?\}))?",
        "Two dicts that should match have different keys. Missing: {missing}; extra: {extra}.",
        ("LD201", "LD202"),
        (
            "Give the targets the very keys of the outputs.",
            "Where this comes from a direct call loss(y, y_pred): the two trees must be the same, key by key.",
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "lengths of trees differ (PyTorch)",
        "Node arity mismatch; expected 3, but got 2.",
        r"Node arity mismatch; expected (?P<expected>\d+), but got (?P<got>\d+)",
        "A container of {expected} was compared with one of {got}: there are more or fewer targets than outputs.",
        ("LD103", "LD521"),
        (
            "Give each output exactly one target.",
            "Look at how many arrays the model returns: print(model.output).",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "sizes that do not fit (PyTorch)",
        "The size of tensor a (5) must match the size of tensor b (3) at non-singleton dimension 1",
        r"The size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\) at non-singleton dimension (?P<axis>\d+)",
        "Two arrays met whose axis {axis}, counted from 0, has {a} entries in one and {b} in the other: most likely target and output inside a loss or a metric, "
        "or a loss and its sample weights or mask.",
        ("LD303", "LD301", "LD532", "LD523"),
        (
            "Give the last layer as many units as the target has columns.",
            "Check that this output got its own target: a list of targets meets dict outputs in sorted-key order.",
            "Run fit once without metrics, and once without sample_weight; where that works, it is one of them.",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "a class number too large (PyTorch)",
        "IndexError: Target 7 is out of bounds.",
        r"Target (?P<label>-?\d+) is out of bounds",
        "A target holds the class number {label}, and the output has no such class.",
        ("LD702", "LD203", "LD305"),
        (
            "With several outputs, check first that this output got its own target: targets in a list meet a dict of outputs in sorted-key order.",
            "Give the last layer as many units as there are classes: y.max() + 1.",
            "Count classes from 0: y - y.min().",
            "Mask a label such as -1 or 255 with ignore_class=..., or weigh it 0 by sample_weight.",
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "targets that are no probabilities (PyTorch)",
        "RuntimeError: all elements of target should be between 0 and 1",
        r"all elements of target should be between 0 and 1",
        "A target of binary_crossentropy holds values outside of 0 to 1.",
        ("LD703", "LD203"),
        (
            "Images: divide by 255. Labels -1 and 1: (y + 1) / 2.",
            "With several outputs, check first that this output got its own target.",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "a loss that is no single number (PyTorch)",
        "RuntimeError: grad can be implicitly created only for scalar outputs",
        r"grad can be implicitly created only for scalar outputs",
        "The loss came out as an array, and a gradient needs one number: a loss has reduction=None.",
        ("LD401",),
        ('Give the loss reduction="sum_over_batch_size", or none at all.', _CHECK),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "no gradient (PyTorch)",
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        r"does not require grad and does not have a grad_fn",
        "Nothing that can be trained has an influence on the loss: the way from the loss back to the weights is cut, or every layer is frozen.",
        ("LD802", "LD602", "LD505"),
        (
            "Look for argmax, round, a comparison, .detach() or .numpy() between the outputs and the loss.",
            "Check that some layer is trainable: model.trainable_variables.",
            _CHECK,
        ),
        seen="3.15.1 with PyTorch",
    ),
    Message(
        "a custom loss that wants all outputs (indices, PyTorch)",
        "IndexError: too many indices for tensor of dimension 2",
        r"too many indices for tensor of dimension (?P<rank>\d+)",
        "A tensor of {rank} axes was indexed by a key, or by more numbers than it has axes. In a custom loss this may mean: it was written for all outputs, and Keras "
        "calls it with one of them.",
        ("LD801",),
        (
            "Write one loss for each output: loss={{'box': box_loss, ...}}.",
            "Where the outputs must be seen together, nest them and give the loss at the subtree: loss={{'detection': joint}}.",
            "Or override compute_loss(self, x, y, y_pred, sample_weight) of the model.",
        ),
        seen="3.15.1 with PyTorch",
    ),
)
