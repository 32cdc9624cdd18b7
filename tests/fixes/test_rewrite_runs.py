"""Rewritten scripts run: Keras then trains what was meant, and before it did not."""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest

from lossdoctor.fixes.rewrite import SourceEdit, rewrite

# Every head predicts 0 and, its inputs being 0, learns nothing: the loss of a head is that of its target, z = 2 and a = 3, against 0.
HEAD = """\
import keras
import numpy as np
from keras import layers

x_train = np.zeros((8, 4), "float32")
z = np.full((8, 1), 2.0, "float32")
a = np.full((8, 1), 3.0, "float32")


def head(inputs, name):
    return layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=name)(inputs)


def heads():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"z": head(inputs, "z"), "a": head(inputs, "a")})


"""
BY_NAME = "y = {'z': y[0], 'a': y[1]}"
LOSSES = {"loss": "{'z': 'mse', 'a': 'mae'}"}
# z by mse is 4 and by mae 2; a by mse is 9 and by mae 3.
MEANT, SWAPPED = 4.0 + 3.0, 9.0 + 2.0


@dataclass(frozen=True)
class Script:
    """A script that leaves `history`; the loss it logs before and after the edit (None where it raises)."""

    code: str
    edit: SourceEdit
    before: float | None
    after: float = MEANT
    model: str | None = None
    head: str = HEAD
    logged: str = "loss"


NAMED = SourceEdit({}, (BY_NAME,))
LOSS_BY_NAME = SourceEdit(LOSSES)
DICT_LOSS = "model.compile('sgd', loss={'z': 'mse', 'a': 'mae'})\n"

SCRIPTS = {
    "list literal in the call": Script(
        "model = heads()\n" + DICT_LOSS + "history = model.fit(x_train, [z, a], verbose=0)\n", NAMED, SWAPPED
    ),
    "tuple literal by keyword": Script(
        "model = heads()\n" + DICT_LOSS + "history = model.fit(x=x_train, y=(z, a), verbose=0)\n", NAMED, SWAPPED
    ),
    "literal assigned to a name": Script(
        "y_train = [z, a]\nmodel = heads()\n" + DICT_LOSS + "history = model.fit(x_train, y_train, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "literal with an annotation": Script(
        "y_train: list[np.ndarray] = [z, a]\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, y_train, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "bare tuple": Script(
        "y_train = z, a\nmodel = heads()\n" + DICT_LOSS + "history = model.fit(x_train, y_train, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "a name that something else reads too": Script(
        "y_train = [z, a]\nassert len(y_train[0]) == 8\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, y_train, verbose=0)\nassert len(y_train) == 2\n",
        NAMED,
        SWAPPED,
    ),
    "a name from unpacking, used once": Script(
        "def load():\n    return x_train, [z, a]\n\n\nx, targets = load()\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x, targets, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "fit in a loop, the name from outside it": Script(
        "def load():\n    return [z, a]\n\n\ntargets = load()\nmodel = heads()\n"
        + DICT_LOSS
        + "for _ in range(3):\n    history = model.fit(x_train, targets, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "fit in a loop over the data": Script(
        "model = heads()\n"
        + DICT_LOSS
        + "for xs, ys in [(x_train, [z, a]), (x_train, [z, a])]:\n    history = model.fit(xs, ys, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "a call gives the targets": Script(
        "def load():\n    return [z, a]\n\n\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, load(), verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "an entry of a dict gives the targets": Script(
        "data = {'y': [z, a]}\nmodel = heads()\n" + DICT_LOSS + "history = model.fit(x_train, data['y'], verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "a call with side effects, in a while": Script(
        "model = heads()\n"
        + DICT_LOSS
        + "history = None\nwhile history is None:\n    history = model.fit(x_train, list((z, a)), verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "everything in one function": Script(
        "def train():\n    model = heads()\n    model.compile(\n        optimizer='sgd',\n        loss={'z': 'mse', 'a': 'mae'},\n    )\n"
        "    targets = [z, a]\n    return model.fit(x_train, targets, verbose=0)\n\n\nhistory = train()\n",
        NAMED,
        SWAPPED,
    ),
    "build and train apart": Script(
        "def build_model():\n    net = heads()\n    net.compile('sgd', {'z': 'mse', 'a': 'mae'})\n    return net\n\n\n"
        "def train(model, x, y):\n    return model.fit(x, y, verbose=0, epochs=1)\n\n\n"
        "if __name__ == '__main__':\n    history = train(build_model(), x_train, [z, a])\n",
        NAMED,
        SWAPPED,
    ),
    "targets global, fit in a function": Script(
        "y_train = list((z, a))\nmodel = heads()\n"
        + DICT_LOSS
        + "\n\ndef train():\n    return model.fit(x_train, y_train, verbose=0)\n\n\nhistory = train()\n",
        NAMED,
        SWAPPED,
    ),
    "a class": Script(
        "class Trainer:\n    def __init__(self):\n        self.model = heads()\n        self.y = [z, a]\n"
        "        self.model.compile(optimizer='sgd', loss={'z': 'mse', 'a': 'mae'})\n\n"
        "    def run(self):\n        return self.model.fit(x_train, self.y, verbose=0)\n\n\nhistory = Trainer().run()\n",
        NAMED,
        SWAPPED,
    ),
    "validation_data": Script(
        "model = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, [z, a], validation_data=(x_train, [z, a]), verbose=0)\n",
        NAMED,
        SWAPPED,
        logged="val_loss",
    ),
    "validation_data by name": Script(
        "y_val = list((z, a))\nval = (x_train, y_val)\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, [z, a], validation_data=val, verbose=0)\n",
        NAMED,
        SWAPPED,
        logged="val_loss",
    ),
    "a tf.data.Dataset": Script(
        "import tensorflow as tf\n\ndataset = tf.data.Dataset.from_tensor_slices((x_train, (z, a))).batch(4)\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(dataset, validation_data=dataset, verbose=0)\n",
        NAMED,
        SWAPPED,
        logged="val_loss",
    ),
    "a starred batch": Script(
        "batch = (x_train, [z, a])\nmodel = heads()\n" + DICT_LOSS + "history = model.fit(*batch, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "on one line with the rest": Script(
        "model = heads()\n" + DICT_LOSS + "t = list((z, a)); history = model.fit(x_train, t, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "in a one-line if": Script(
        "model = heads()\n" + DICT_LOSS + "t = list((z, a))\nif True: history = model.fit(x_train, t, verbose=0)\n",
        NAMED,
        SWAPPED,
    ),
    "targets in several lines with comments": Script(
        "model = heads()\n"
        + DICT_LOSS
        + "history = model.fit(\n    x_train,\n    [\n        z,  # weights\n        a,  # ages\n    ],\n    verbose=0,\n)\n",
        NAMED,
        SWAPPED,
    ),
    "targets in several lines with comments, in another order": Script(
        "model = heads()\n"
        + DICT_LOSS
        + "history = model.fit(\n    x_train,\n    (\n        a,  # ages\n        z,  # weights\n    ),\n    verbose=0,\n)\n",
        SourceEdit({}, ("y = {'z': y[1], 'a': y[0]}",)),
        MEANT,
    ),
    "arithmetic on an element": Script(
        "model = heads()\n" + DICT_LOSS + "history = model.fit(x_train, {'z': z + 1, 'a': a}, verbose=0)\n",
        SourceEdit({}, ("y['z'] = y['z'] - 1",)),
        9.0 + 3.0,
    ),
    "arithmetic on an element of a name, twice": Script(
        "y = list((z + 1, a))\ny = dict(z=y[0], a=y[1])\nmodel = heads()\n"
        + DICT_LOSS
        + "for _ in range(2):\n    history = model.fit(x_train, y, verbose=0)\n",
        SourceEdit({}, ("y['z'] = y['z'] - 1",)),
        9.0 + 3.0,
    ),
    "two statements": Script(
        "def load():\n    return [z + 1, a]\n\n\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, load(), verbose=0)\n",
        SourceEdit({}, (BY_NAME, "y['z'] = y['z'] - 1")),
        9.0 + 3.0,
    ),
    "sample weights by name": Script(
        "w = np.zeros(8)\nmodel = heads()\n"
        + DICT_LOSS
        + "history = model.fit(x_train, {'z': z, 'a': a}, sample_weight=w, verbose=0)\n",
        SourceEdit({}, ("sample_weight = {'z': sample_weight, 'a': np.ones(8)}",)),
        0.0,
        3.0,
    ),
    "sample weights from the targets": Script(
        "t = list((z, a))\nmodel = heads()\n" + DICT_LOSS + "history = model.fit(x_train, t, verbose=0)\n",
        SourceEdit({}, ("sample_weight = {'z': np.zeros(len(y[0])), 'a': np.ones(len(y[0]))}", BY_NAME)),
        SWAPPED,
        3.0,
    ),
    "losses as a list": Script(
        "model = heads()\nmodel.compile('sgd', loss=['mse', 'mae'])\nhistory = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        LOSS_BY_NAME,
        SWAPPED,
    ),
    "losses by place": Script(
        "model = heads()\nmodel.compile('sgd', ['mse', 'mae'], [1, 1])\nhistory = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        SourceEdit(LOSSES | {"loss_weights": None}),
        SWAPPED,
    ),
    "losses and targets": Script(
        "model = heads()\nmodel.compile('sgd', loss=['mse', 'mae'])\nhistory = model.fit(x_train, [z, a], verbose=0)\n",
        SourceEdit(LOSSES, (BY_NAME,)),
        2.0**2 + 3.0,
    ),
    "weights of losses": Script(
        "model = heads()\nmodel.compile(\n    'sgd',\n    loss=['mse', 'mse'],\n    loss_weights=[10, 1]  # z first\n)\n"
        "history = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        SourceEdit({"loss_weights": "{'z': 10, 'a': 1}", "loss": "{'z': 'mse', 'a': 'mse'}"}),
        10 * 9.0 + 4.0,
        10 * 4.0 + 9.0,
    ),
    "weights added": Script(
        "model = heads()\nmodel.compile(\n    'sgd',\n    loss=['mse', 'mae']  # z first\n)\n"
        "history = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        SourceEdit({**LOSSES, "loss_weights": "{'z': 10, 'a': 1}"}),
        SWAPPED,
        10 * 4.0 + 3.0,
    ),
    "arguments in a dict": Script(
        "config = dict(optimizer='sgd', loss=['mse', 'mae'])\nmodel = heads()\nmodel.compile(**config)\n"
        "history = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        LOSS_BY_NAME,
        SWAPPED,
    ),
    "from_logits": Script(
        "inputs = keras.Input((4,))\n"
        "outputs = layers.Dense(1, kernel_initializer='zeros', bias_initializer=keras.initializers.Constant(2.0))(inputs)\n"
        "model = keras.Model(inputs, outputs)\n"
        "model.compile(optimizer='sgd', loss=keras.losses.BinaryCrossentropy(from_logits=False))\n"
        "history = model.fit(x_train, np.ones((8, 1)), verbose=0)\n",
        SourceEdit({"loss": "keras.losses.BinaryCrossentropy(from_logits=True)"}),
        0.0,
        0.126928,
    ),
    "a loss of one's own": Script(
        "model = heads()\nmodel.compile('sgd', loss=['mse', 'mae'])\nhistory = model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n",
        SourceEdit(
            {"loss": "{'z': halved, 'a': None}"},
            definitions="def halved(y_true, y_pred):\n    return ops.mean(ops.square(y_true - y_pred), axis=-1) / 2\n",
            imports=("from keras import ops",),
        ),
        SWAPPED,
        2.0,
    ),
    "a loss of one's own whose name is taken": Script(
        "def halved(value):\n    return value / 2\n\n\nmodel = heads()\nmodel.compile('sgd', loss=['mse', 'mae'])\n"
        "history = model.fit(x_train, {'z': z, 'a': halved(2 * a)}, verbose=0)\n",
        SourceEdit(
            {"loss": "{'z': halved, 'a': None}"},
            definitions="def halved(y_true, y_pred):\n    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) / 2\n",
        ),
        SWAPPED,
        2.0,
    ),
    "the model is wrapped": Script(
        "inputs = keras.Input((4,))\nmodel = keras.Model(inputs, [head(inputs, 'one'), head(inputs, 'two')])\n"
        "model.compile(optimizer='sgd', loss='mse')\nhistory = model.fit(x_train, [z, a], verbose=0)\n",
        SourceEdit(
            {"loss": "{'all': whole}"},
            ("y = {'all': y}",),
            ('model = keras.Model(model.inputs, {"all": model.outputs})',),
            "def whole(y_true, y_pred):\n    return keras.ops.mean(keras.ops.abs(y_true[0] - y_pred[0])) + 10 * keras.ops.mean(y_true[1])\n",
            ("import keras",),
        ),
        4.0 + 9.0,
        2.0 + 30.0,
    ),
    "the model is an attribute, and wrapped": Script(
        "class Trainer:\n    def __init__(self):\n        self.model = heads()\n\n    def run(self):\n"
        "        self.model.compile(optimizer='sgd', loss='mse')\n"
        "        return self.model.fit(x_train, {'z': z, 'a': a}, verbose=0)\n\n\nhistory = Trainer().run()\n",
        SourceEdit(
            {"loss": "{'first': 'mse', 'second': 'mae'}"},
            ("y = {'first': y['z'], 'second': y['a']}",),
            ('model = keras.Model(model.inputs, {"first": model.output["z"], "second": model.output["a"]})',),
        ),
        13.0,
    ),
    "one of two models": Script(
        "other = heads()\nother.compile('sgd', loss='mse')\nmodel = heads()\nmodel.compile('sgd', loss=['mse', 'mae'])\n"
        "other.fit(x_train, [z, a], verbose=0)\nhistory = model.fit(x_train, [z, a], verbose=0)\n"
        "assert 'assert' and isinstance(other.loss, str)\n",
        SourceEdit(LOSSES, (BY_NAME,)),
        MEANT,
        model="model",
    ),
    "trained in two phases": Script(
        "targets = list((z, a))\nmodel = heads()\nmodel.compile('sgd', loss={'z': 'mse', 'a': 'mse'})\nmodel.fit(x_train, targets, verbose=0)\n"
        "model.trainable = False\nmodel.compile('adam', loss={'z': 'mse', 'a': 'mse'})\n"
        "history = model.fit(x_train, targets, verbose=0)\n",
        SourceEdit(LOSSES, (BY_NAME,)),
        13.0,
    ),
    "exported from a notebook": Script(
        "# coding: utf-8\n\n# # Two heads\n\n# In[1]:\n\n\nimport numpy as np\n\n\n# In[2]:\n\n\n"
        + HEAD
        + "# In[3]:\n\n\nmodel = heads()\n\n\n# In[4]:\n\n\n# Compile\nmodel.compile('sgd', loss=['mse', 'mae'])\n\n\n"
        "# In[5]:\n\n\ny_train = [z, a]\n\n\n# In[6]:\n\n\nhistory = model.fit(x_train, y_train, verbose=0)\n\n\n# In[ ]:\n",
        SourceEdit(
            {"loss": "{'z': halved, 'a': 'mae'}"},
            (BY_NAME,),
            definitions="def halved(y_true, y_pred):\n    return ops.mean(ops.square(y_true - y_pred), axis=-1) / 2\n",
            imports=("from keras import ops",),
        ),
        MEANT,
        2.0 + 3.0,
        head="",
    ),
    "with tabs and Windows lines": Script(
        textwrap.dedent(HEAD).replace("    ", "\t").replace("\n", "\r\n")
        + "def train():\r\n\tmodel = heads()\r\n\tmodel.compile(\r\n\t\toptimizer='sgd',\r\n\t\tloss=['mse', 'mae'],\r\n\t)\r\n"
        "\tt = list((z, a))\r\n\treturn model.fit(x_train, t, verbose=0)\r\n\r\n\r\nhistory = train()",
        SourceEdit({**LOSSES, "loss_weights": "{'z': 10, 'a': 1}"}, (BY_NAME,)),
        MEANT,
        10 * 4.0 + 3.0,
        head="",
    ),
}


def loss_of(source: str, logged: str) -> float:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "train.py", "exec"), scope)
    return float(scope["history"].history[logged][-1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_rewritten_script_trains_what_was_meant(name: str) -> None:
    script = SCRIPTS[name]
    source = script.head + script.code
    done = rewrite(source, script.edit, model=script.model)
    assert loss_of(source, script.logged) == pytest.approx(script.before, abs=1e-4)
    assert loss_of(done.text, script.logged) == pytest.approx(script.after, abs=1e-4), done.text


@pytest.mark.parametrize("name", SCRIPTS)
def test_rewriting_the_result_changes_nothing(name: str) -> None:
    script = SCRIPTS[name]
    once = rewrite(script.head + script.code, script.edit, model=script.model).text
    ast.parse(once)
    assert once != script.head + script.code
    compile_only = SourceEdit(script.edit.compile, definitions=script.edit.definitions)
    assert rewrite(once, compile_only, model=script.model).text == once
    if name not in STATEMENTS_REPEAT:
        assert rewrite(once, script.edit, model=script.model).text == once


# Arithmetic in a literal cannot be told from the person's own.
STATEMENTS_REPEAT = ("arithmetic on an element", "sample weights from the targets")
