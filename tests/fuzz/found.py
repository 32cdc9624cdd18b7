"""Cases on which lossdoctor and Keras once disagreed, made smaller: each has a rule that was changed for it."""

from __future__ import annotations

from tests.fuzz.spec import Case, Loss, Output, Target, Weights

Z, A = Output("z", (1,)), Output("a", (1,))
ONE, TWO = Target("numbers", (3, 1), 1), Target("numbers", (3, 1), 2)
MSE, MAE = Loss("mse"), Loss("mae")
_FLAT, _ROW = Output("z", ()), Target("numbers", (3,), 1)

FOUND: dict[str, Case] = {
    # LD401: trains the sum's gradient under the mean's value (TensorFlow), raises (JAX).
    "no reduction": Case(3, Z, Loss("mse", "object", None), ONE),
    # LD404: the last axis of an output (N,) is the samples.
    "a sum over (N,)": Case(3, _FLAT, Loss("mse", "object", "sum"), _ROW),
    "sample weights on (N,)": Case(3, _FLAT, MSE, _ROW, None, Weights((3,), 1)),
    "(N,) as it is": Case(3, _FLAT, MSE, _ROW),
    # LD511: a weight under a name that no output has.
    "a misspelt weight that lands elsewhere": Case(
        3, {"z": Z, "a": A}, {"z": MSE, "a": MSE}, {"z": ONE, "a": TWO}, {"a": 2.0, "Z": 5.0}
    ),
    "a misspelt weight that lands by luck": Case(
        3, {"z": Z, "a": A}, {"z": MSE, "a": MSE}, {"z": ONE, "a": TWO}, {"a": 2.0, "zz": 5.0}
    ),
}
