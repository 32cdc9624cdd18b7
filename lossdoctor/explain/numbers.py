"""Messages about shapes, dtypes and values that a loss or a metric cannot take, and about custom losses."""

from __future__ import annotations

from lossdoctor.explain.message import SHAPE, SIZES, Message

_SAME = r"Arguments `target` and `output` must have the same (?:shape|rank \(ndim\))\. Received: "
_CHECK = "`lossdoctor check MODEL BATCH` says which output and which target it is."
_SPARSE = "For class numbers use loss='sparse_categorical_crossentropy'."
_ONE_HOT = "For one-hot rows use loss='categorical_crossentropy'."

NUMBERS = (
    Message(
        "class numbers for one-hot rows",
        "Arguments `target` and `output` must have the same shape. Received: target.shape=(8,), output.shape=(8, 3)",
        _SAME
        + r"target\.shape=(?P<target>\((?:\d+|None),(?: 1)?\)), output\.shape=(?P<output>\((?:\d+|None), (?!1\))\d+\))",
        "The targets have the shape {target}, the output {output}. The loss wants a row for each sample, as long as the output's; the targets hold one "
        "number for each sample, most likely a class number.",
        ("LD305", "LD303"),
        (
            _SPARSE,
            "Or turn them into rows: y = keras.utils.to_categorical(y, num_classes).",
            "For one number a sample, let the last layer have one unit.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "target and output of other shapes",
        "Arguments `target` and `output` must have the same shape. Received: target.shape=(8, 4), output.shape=(8, 3)",
        _SAME + rf"target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "The targets have the shape {target}, the output {output}; this loss wants them equal.",
        ("LD303", "LD301", "LD305"),
        (
            "Give the last layer as many units as the targets have classes or columns.",
            "Check that this output got its own target: outputs in a dict are paired with a list of targets in sorted-key order.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "one-hot rows for a sparse loss",
        "Argument `output` must have rank (ndim) `target.ndim - 1`. Received: target.shape=(8, 3), output.shape=(8, 3)",
        rf"(?:must have rank \(ndim\) `target\.ndim - 1`\. Received|must have the same shape up until the last dimension): target\.shape=(?P<target>{SHAPE}), output\.shape=(?P=target)",
        "Targets and output both have the shape {target}. A sparse loss wants class numbers, one for each row of the output; these targets look like one-hot rows.",
        ("LD305",),
        (_ONE_HOT, "Or turn the rows into class numbers: y = y.argmax(axis=-1)."),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "class numbers of another shape",
        "Arguments `target` and `output` must have the same shape up until the last dimension: target.shape=(8, 5), output.shape=(8, 6, 3)",
        rf"(?:must have rank \(ndim\) `target\.ndim - 1`\. Received|must have the same shape up until the last dimension): target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "A sparse loss wants a class number for each row of the output {output}; the targets have the shape {target}.",
        ("LD303", "LD301", "LD305"),
        (
            "Give targets of the output's shape without its last axis.",
            "Where there is one label a sample and the output has a time axis, reduce that axis: return_sequences=False, or a pooling layer.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "weights or a mask along another axis (TensorFlow)",
        "Dimensions must be equal, but are 4 and 5 for '{{node compile_loss/mse/mul}} = Mul' with input shapes: [4], [4,5].",
        rf"Dimensions must be equal, but are (?P<a>\d+) and (?P<b>\d+) for '{{{{node compile_loss/(?P<loss>\w+)/mul\w*}}}}.*?with input shapes: (?P<left>{SIZES}), (?P<right>{SIZES})",
        "The loss '{loss}' gives values of the shape {left}, and the sample weights or the mask of the output have the shape {right}.",
        ("LD532", "LD301"),
        (
            "Give one weight for each sample, shape (N,), or as many as the loss gives values.",
            "With a mask (Embedding(mask_zero=True), Masking): give targets with the very shape of the output, y[..., None] for (N, T, 1).",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "shapes in a loss (TensorFlow)",
        "Dimensions must be equal, but are 5 and 3 for '{{node compile_loss/mse/sub}} = Sub' with input shapes: [4,5], [4,3].",
        rf"Dimensions must be equal, but are (?P<a>\d+) and (?P<b>\d+) for '{{{{node compile_loss/(?P<loss>\w+)/.*?with input shapes: (?P<left>{SIZES}), (?P<right>{SIZES})",
        "Inside the loss '{loss}' an array of the shape {left} met one of the shape {right}: these are the target and the output, and {a} and {b} do not fit.",
        ("LD303", "LD301", "LD306"),
        (
            "Give the last layer as many units as the target has columns.",
            "Check that this output got its own target: a list of targets meets dict outputs in sorted-key order.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "shapes outside a loss (TensorFlow)",
        "Dimensions must be equal, but are 2 and 3 for '{{node Add}} = AddV2' with input shapes: [200,2], [200,3].",
        rf"Dimensions must be equal, but are (?P<a>\d+) and (?P<b>\d+) for '{{{{node (?P<node>\S+?)}}}}.*?with input shapes: (?P<left>{SIZES}), (?P<right>{SIZES})",
        "An array of the shape {left} met one of the shape {right} at '{node}', outside the compiled losses: in a metric, or in a layer of the model.",
        ("LD523", "LD303", "LD902"),
        (
            "Run fit once without metrics; where that works, it is a metric.",
            "Check num_classes and num_labels of the metrics.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "shapes in an eager call (TensorFlow)",
        "InvalidArgumentError: Incompatible shapes: [4,5] vs. [4,3] [Op:Sub]",
        rf"Incompatible shapes: (?P<left>{SIZES}) vs\. (?P<right>{SIZES})",
        "An array of the shape {left} met one of the shape {right}: most likely target and output, inside a loss.",
        ("LD303", "LD301", "LD532"),
        (
            "Give the last layer as many units as the target has columns.",
            "Where one of the two has as many entries as the batch alone, look at the sample weights.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "one value a sample against more (JAX)",
        "Incompatible shapes for broadcasting: shapes=[(4,), (4, 5)]",
        rf"Incompatible shapes for broadcasting: shapes=\[(?P<left>\(\d+,\)), (?P<right>{SHAPE})\]",
        "A loss that gives one value a sample, {left}, met sample weights or a mask of the shape {right}.",
        ("LD532", "LD301"),
        (
            "Give one weight for each sample, shape (N,).",
            "With a mask (Embedding(mask_zero=True), Masking): give targets with the very shape of the output, y[..., None] for (N, T, 1).",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with JAX",
    ),
    Message(
        "shapes in a loss (JAX)",
        "TypeError: sub got incompatible shapes for broadcasting: (4, 5), (4, 3).",
        rf"(?:got incompatible shapes for broadcasting: (?P<left>{SHAPE}), (?P<right>{SHAPE})|Incompatible shapes for broadcasting: shapes=\[(?P<one>{SHAPE}), (?P<other>{SHAPE})\])",
        "An array of the shape {left}{one} met one of the shape {right}{other}: most likely target and output, inside a loss or a metric.",
        ("LD303", "LD301", "LD523"),
        (
            "Give the last layer as many units as the target has columns.",
            "Check that this output got its own target: a list of targets meets dict outputs in sorted-key order.",
            "Run fit once without metrics; where that works, it is a metric.",
            _CHECK,
        ),
        seen="3.4.1 to 3.15.1 with JAX",
    ),
    Message(
        "another number of samples",
        "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples. 'x' sizes: 8 'y' sizes: 6",
        r"Data cardinality is ambiguous\. Make sure all arrays contain the same number of samples\.\s*(?P<sizes>.*)",
        "The arrays given to fit have different numbers of samples: {sizes}.",
        ("LD304", "LD104"),
        (
            "Compare len() of x, of every target and of the sample weights.",
            "Look for a train/test split that was applied to x and not to y.",
            "Targets of several outputs in one array, (outputs, N): take them apart, [y[0], y[1]].",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a class number too large",
        "Received a label value of 7 which is outside the valid range of [0, 3).",
        r"Received a label value of (?P<label>-?\d+) which is outside the valid range of \[0, (?P<classes>\d+)\)",
        "A target holds the class number {label}, and the output has {classes} classes, 0 to {classes} without the last. JAX does not check this and trains on zeros.",
        ("LD702", "LD203"),
        (
            "With several outputs, check first that this output got its own target: targets in a list meet a dict of outputs in sorted-key order.",
            "Give the last layer as many units as there are classes: y.max() + 1.",
            "Count classes from 0: y - y.min().",
            "Mask a label such as -1 or 255 with ignore_class=..., or weigh it 0 by sample_weight.",
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "text or objects as data",
        "ValueError: Invalid dtype: object",
        r"Invalid dtype: (?P<dtype>str\d*|object|complex\d*|bytes\d*)|Dtype (?P<kind>\w+) is not a valid JAX array type|Failed to convert a NumPy array to a Tensor \(Unsupported object type (?P<type>\w+)",
        "One of the arrays has the dtype {dtype}{kind}{type}, which Keras cannot compute with: text, a mixture of kinds, or rows of different lengths. "
        "On PyTorch a None among the targets, or a dict of targets whose keys fit no output, is told in the same words.",
        ("LD307", "LD902", "LD201", "LD102", "LD103", "LD105", "LD804"),
        (
            "Print the dtype of x and of every target: numpy.asarray(y).dtype.",
            "Text labels: turn them into class numbers, numpy.unique(y, return_inverse=True)[1].",
            "Rows of different lengths: pad them, keras.utils.pad_sequences(y).",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "an iterator or list as data",
        "Unrecognized data type: x=[...] (of type <class 'list'>)",
        r"Unrecognized data type: x=.*?\(of type <class '(?P<kind>[^']*)'>\)",
        "Keras found no way to read the data. fit takes arrays, or a dataset or generator that yields them; x is of the type {kind} here. Where x is an array, it is y: "
        "a plain Python list of numbers, or of rows, is not taken for an array.",
        ("LD307", "LD102"),
        (
            "Make arrays of the lists: y = numpy.asarray(y).",
            "An iterator must be a generator, a PyDataset, a tf.data.Dataset or a DataLoader.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a metric of another rank",
        "FBetaScore expects 2D inputs with shape (batch_size, output_dim). Received input shapes: y_pred.shape=(4, 1) and y_true.shape=(4,).",
        rf"(?P<metric>\w+) expects 2D inputs with shape \(batch_size, output_dim\).*?y_pred\.shape=(?P<output>{SHAPE}) and y_true\.shape=(?P<target>{SHAPE})",
        "The metric {metric} (F1Score is one) wants a row for each sample; it got predictions {output} and targets {target}.",
        ("LD523",),
        (
            "Give targets of the output's shape: y[:, None], or one-hot rows.",
            "Set average=... and threshold=... of the metric to fit a single output.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a loss that is no single number",
        "Gradient only defined for scalar-output functions. Output had shape: (4,).",
        rf"Gradient only defined for scalar-output functions\. Output had shape: (?P<shape>{SHAPE})",
        "The loss came out as an array of the shape {shape}, and a gradient needs one number: a loss has reduction=None.",
        ("LD401",),
        (
            "Leave reduction at its default, 'sum_over_batch_size'.",
            "TensorFlow does not raise here: it follows the gradient of the sum, N times as large.",
            "To weigh samples, use sample_weight in place of reduction=None.",
        ),
        seen="3.4.1 to 3.15.1 with JAX",
    ),
    Message(
        "no gradient",
        "No gradients provided for any variable.",
        r"No gradients provided for any variable",
        "Nothing that can be trained has an influence on the loss: the way from the loss back to the weights is cut, or every layer is frozen.",
        ("LD802", "LD602", "LD505"),
        (
            "In a custom loss look for argmax, round, comparisons, casts to int, stop_gradient and .numpy().",
            "Check that the loss reads y_pred.",
            "Check that some layer is trainable: model.trainable_variables.",
        ),
        seen="3.4.1 to 3.15.1 with TensorFlow",
    ),
    Message(
        "Python's if on a tensor",
        "TracerBoolConversionError: Attempted boolean conversion of traced array with shape bool[].",
        r"TracerBoolConversionError|Attempted boolean conversion of traced array|Using a symbolic `tf\.Tensor` as a Python `bool` is not allowed",
        "A custom loss, metric or layer uses a tensor in a Python if, while, and or not. Under fit the code is traced once, before there are any values.",
        ("LD804",),
        (
            "Choose by keras.ops.where(condition, a, b), or keras.ops.cond.",
            "For a quick look only, compile with run_eagerly=True.",
        ),
        seen="3.4.1 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "a custom loss that wants all outputs (keys)",
        "TypeError: Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 tensors are valid indices, got 'box'",
        r"(?:are valid indices, got|JAX does not support string indexing; got idx=\(?)\s*'(?P<key>[^']*)'",
        "Your loss reads ['{key}'] of what it is given, and was given one tensor. Keras calls one loss for each output, never with all of them.",
        ("LD801",),
        (
            "Write one loss for each output: loss={{'{key}': box_loss, ...}}.",
            "Where the outputs must be seen together, join them in the model, or nest them and give the loss at the subtree: loss={{'detection': joint}}.",
            "Or override compute_loss(self, x, y, y_pred, sample_weight) of the model.",
        ),
        seen="3.4.1 to 3.15.1 with JAX and TensorFlow",
    ),
    Message(
        "a custom loss that wants all outputs (unpacking)",
        "ValueError: too many values to unpack (expected 2)",
        r"(?:too many|not enough) values to unpack \(expected (?P<count>\d+)|Iterating over a symbolic `tf\.Tensor` is not allowed",
        "A tensor was taken apart as if it were a list, as in `a, b = y_pred`. In a custom loss this means: it was written for all outputs, and Keras calls it "
        "once for each, with one tensor. Keras 3.4 also says it where one array is the target of several outputs.",
        ("LD801", "LD104", "LD804"),
        (
            "Write one loss for each output: loss={{'box': box_loss, 'label': label_loss}}.",
            "Where the outputs must be seen together, join them in the model, or nest them and give the loss at the subtree: loss={{'detection': joint}}.",
            "Take columns of one output by slices: y_pred[..., 0], y_pred[..., 1].",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a custom loss of another signature",
        "TypeError: my_loss() takes 1 positional argument but 2 were given",
        r"(?P<function>[\w.<>]+)\(\) takes (?P<takes>\d+) positional arguments? but (?P<given>\d+) (?:was|were) given",
        "{function}() takes {takes} arguments and was called with {given}. Keras calls a loss or metric function with (y_true, y_pred).",
        ("LD804",),
        (
            "Give your loss the parameters (y_true, y_pred).",
            "Put other parameters into a closure or a keras.losses.Loss subclass with __init__.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
)
