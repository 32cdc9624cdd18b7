"""Messages about x, and about files that do not load."""

from __future__ import annotations

from lossdoctor.explain.message import SHAPE, Message

_LAYER = r"""Input (?P<number>\d+)(?: with name '(?P<input>[^']*)')? of layer ['"](?P<layer>[^'"]*)['"] is incompatible with the layer: """
_SUMMARY = "Compare with model.inputs, or `lossdoctor show MODEL`."

INPUTS = (
    Message(
        "an input is missing",
        "Missing data for input \"size\". You passed a data dictionary with keys ['photo']. Expected the following keys: ['photo', 'size']",
        r"""Missing data for input ["'](?P<input>[^"']*)["']\. You passed a data dictionary with keys (?P<keys>\[.*?\])\. Expected the following keys: (?P<expected>\[.*?\])""",
        "x is a dict with the keys {keys}, and the model wants {expected}: '{input}' is missing.",
        ("LD902",),
        (
            "Add it to x, or correct the key that is misspelt.",
            "The keys are the names of keras.Input(..., name=...).",
            _SUMMARY,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "another number of inputs",
        'Layer "functional" expects 2 input(s), but it received 1 input tensors.',
        r"""Layer "(?P<layer>[^"]*)" expects (?P<expected>\d+) (?:named )?input\(s\)(?: with keys (?P<keys>\[.*?\]))?, but it received (?P<given>\d+) input tensors""",
        "The model or layer '{layer}' wants {expected} inputs {keys}, and x holds {given}.",
        ("LD902", "LD901"),
        (
            "Give x as a dict with the inputs' names; then order cannot matter.",
            "A list of rows counts as that many inputs: use numpy.asarray(x) for one input.",
            _SUMMARY,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "an input of another shape",
        'Input 0 of layer "functional" is incompatible with the layer: expected shape=(None, 4), found shape=(4, 5)',
        _LAYER + rf"expected shape=(?P<expected>{SHAPE}), found shape=(?P<found>{SHAPE})",
        "The model '{layer}' wants x of the shape {expected} (None is the number of samples, or free), and got {found}. It is input number {number}, counted from 0.",
        ("LD902", "LD901"),
        (
            "Compare x.shape with keras.Input(shape=...), which leaves out the samples.",
            "With several inputs, give x as a dict: they may have been exchanged.",
            "A single sample needs a first axis of 1: x[None].",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a layer's input of another size",
        'Input 0 of layer "dense" is incompatible with the layer: expected axis -1 of input shape to have value 4, but received input with shape (8, 5)',
        _LAYER
        + rf"expected axis (?P<axis>-?\d+) of input shape to have value (?P<expected>\d+), but received input with shape (?P<found>{SHAPE})",
        "The layer '{layer}' was built for inputs whose axis {axis} is {expected} long, and got {found}.",
        ("LD902",),
        (
            "Compare x.shape with what the layer was built for.",
            "A layer that is used twice must get inputs of the same width.",
            _SUMMARY,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a layer's input of another rank",
        'Input 0 of layer "conv2d" is incompatible with the layer: expected min_ndim=4, found ndim=3. Full shape received: (8, 5, 5)',
        _LAYER
        + rf"expected (?P<what>min_ndim|max_ndim|ndim)=(?P<expected>\d+), found ndim=(?P<ndim>\d+)\. Full shape received: (?P<found>{SHAPE})",
        "The layer '{layer}' wants an input with {expected} axes ({what}, samples included), and got {ndim}: {found}.",
        ("LD902",),
        ("Images without a channel axis: x[..., None].", "A single sample needs a first axis of 1: x[None].", _SUMMARY),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "an input of another rank",
        "Invalid input shape for input Tensor. Expected shape (None, 4), but input has incompatible shape (4, 4, 2)",
        rf"Invalid input shape for input .*?Expected shape (?P<expected>{SHAPE}), but input has incompatible shape (?P<found>{SHAPE})",
        "The model wants an input of the shape {expected} (None is the number of samples, or free), and got {found}.",
        ("LD902", "LD901"),
        (
            "Compare x.shape with keras.Input(shape=...), which leaves out the samples.",
            "With several inputs, give x as a dict: they may have been exchanged.",
            _SUMMARY,
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "an input is missing (Keras 3.4)",
        "KeyError: 140229749376528",
        r"^KeyError: \d{9,}\s*$",
        "Keras did not find one of the model's inputs (the number is only its place in memory): x holds fewer arrays than the model has inputs.",
        ("LD902",),
        (
            "Give x an array for every input, as a dict with the inputs' names.",
            _SUMMARY,
            "Newer releases of Keras name the input.",
        ),
        seen="3.4.1 with JAX",
    ),
    Message(
        "arrays that cannot be joined",
        "A `Concatenate` layer requires inputs with matching shapes except for the concatenation axis. Received: input_shape=[(8, 2, 3), (8, 4, 3)]",
        r"A `(?P<layer>\w+)` layer requires inputs with matching shapes except for the concatenation axis\. Received: input_shape=(?P<shapes>\[[^\]]*\])",
        "A {layer} layer joins arrays of the shapes {shapes}, which differ along another axis than the one they are joined along.",
        ("LD902",),
        (
            "Set its axis, or bring the inputs to the same shape first.",
            "With several inputs, give x as a dict: they may have been exchanged.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "two layers of one name",
        'The name "a" is used 2 times in the model. All operation names should be unique.',
        r"""The name "(?P<name>[^"]*)" is used (?P<count>\d+) times in the model""",
        "{count} layers are named '{name}'. Losses and targets by name could not tell them apart.",
        ("LD205",),
        ("Give each layer a name of its own.", "A model used twice inside another one needs a name for each use."),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a class that Keras cannot find",
        "Could not locate class 'MyLoss'. Make sure custom classes and functions are decorated with `@keras.saving.register_keras_serializable()`.",
        r"Could not locate (?P<kind>class|function) '(?P<name>[^']*)'",
        "The file uses the {kind} '{name}', which is not Keras's and was not registered when the file was loaded.",
        ("LD952",),
        (
            "Import the module that defines '{name}' before load_model, and decorate it with @keras.saving.register_keras_serializable().",
            "Or pass it: load_model(path, custom_objects={{'{name}': {name}}}).",
            "For lossdoctor: --objects your_file.py.",
        ),
        seen="3.10.0 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "a class that cannot be rebuilt",
        "Error when deserializing class 'MyLayer' using config={}. Exception encountered: MyLayer.__init__() missing 1 required positional argument: 'units'",
        r"Error when deserializing class '(?P<name>[^']*)' using config=.*?Exception encountered: (?P<inner>.*)",
        "Keras found the class '{name}' and could not make an object of it from what the file holds: {inner}.",
        ("LD952",),
        (
            "Let get_config() return every argument of __init__: {{**super().get_config(), 'units': self.units}}.",
            "Save the model again with that class; an old file lacks the values.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "stored Lambda code",
        "Requested the deserialization of a `Lambda` layer whose `function` is a Python lambda. This carries a potential risk of arbitrary code execution and thus it is disallowed by default.",
        r"deserialization of a `Lambda` layer|this `Lambda` layer is a Python lambda",
        "The file holds a lambda as stored code, which Keras does not run unless you say that you trust it.",
        ("LD953",),
        (
            "Replace the Lambda layer by a layer of your own, or by keras.ops in the model, and save again.",
            "Where you made the file yourself: load_model(path, safe_mode=False); for lossdoctor: --unsafe.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
    Message(
        "weights that do not fit",
        "A total of 2 objects could not be loaded. Example error message for object <Dense name=a>: The shape of the target variable and the shape of the target value must match.",
        rf"A total of (?P<count>\d+) objects could not be loaded\. Example error message for object <(?P<layer>[^,>]*).*?variable\.shape=(?P<variable>{SHAPE}), Received: value\.shape=(?P<value>{SHAPE})",
        "The weights in the file do not fit the model: <{layer}> has weights of the shape {variable}, and the file gives it {value}. {count} layers are affected.",
        ("LD107",),
        (
            "Outputs in an OrderedDict come back in sorted order, and the weights with them: use a plain dict, with keys in sorted order.",
            "Check that the model is built by the code that built it when the file was saved.",
        ),
        seen="3.4.1 to 3.15.1 with JAX, TensorFlow and PyTorch",
    ),
)
