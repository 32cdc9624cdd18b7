"""What holds for all of Keras in a process or thread: its configuration, what is registered, and TensorFlow's strategy scopes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from lossdoctor import _keras


def strategy_of(model: Any) -> Any:
    """The `tf.distribute` strategy under which a live model was made and will be trained; None where it has one replica."""
    strategy = getattr(model, "_distribute_strategy", None)
    return strategy if getattr(strategy, "num_replicas_in_sync", 1) > 1 else None


def outside_strategies(function: Callable[[], Any]) -> Any:
    """What `function` returns (or raises), run where no `tf.distribute` strategy is in scope.

    A strategy's scope belongs to its thread, and it cannot be left from inside; nor do Keras's settings go with a new thread.
    """
    if _keras.backend_name() != "tensorflow":
        return function()
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return function()
    settings = dict(_keras.thread_settings())

    def apart() -> Any:
        _keras.thread_settings().update(settings)
        return function()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(apart).result()


@contextlib.contextmanager
def kept_randomness() -> Iterator[None]:
    """Random numbers go on afterwards as if nothing had run inside: on PyTorch every `fit` draws one of the global generator's."""
    if _keras.backend_name() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def was_configured(file: Mapping[str, Any]) -> bool:
    """True where this process has another configuration than `file` (keras.json) gives, or registered classes of its own."""
    floatx = file.get("floatx", "float32")
    due = (floatx, file.get("epsilon", 1e-7), file.get("image_data_format", "channels_last"), floatx)
    registered = keras.saving.get_custom_objects().values()
    return _configuration() != due or any(not _is_ours(value) for value in registered)


def _configuration() -> tuple[Any, ...]:
    config = keras.config
    return (config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name)


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).split(".")[0] in ("keras", "lossdoctor")


@contextlib.contextmanager
def preserved_state() -> Iterator[None]:
    """Names are numbered afresh inside; afterwards configuration, numbering and registered objects are as before."""
    floatx, epsilon, layout, _ = _configuration()
    policy, registry = keras.config.dtype_policy(), keras.saving.get_custom_objects()
    registered = dict(registry)
    settings = _keras.thread_settings()
    numbers = settings.pop("object_name_uids", None)
    try:
        yield
    finally:
        settings["object_name_uids"] = numbers
        keras.config.set_floatx(floatx)
        keras.config.set_epsilon(epsilon)
        keras.config.set_image_data_format(layout)
        keras.config.set_dtype_policy(policy)
        registry.clear()
        registry.update(registered)
