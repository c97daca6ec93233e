# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dropout in adapters, seeded per training step.

[1, Appendix] tries it against personalization that hurts clients. Keras's
dropout draws from a stateful generator, so that its result would depend on
which clients ran before. Here it is a function of the seed of the step and of
the position of the layer in the model. Layers do not know the rate or the seed:
the training step opens a `scope` around the call of the model. Outside of a
scope, as in evaluation and in exported models, `apply` does nothing.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Iterator
import contextlib
import contextvars
import itertools
from typing import Any, Optional

import tensorflow as tf

_scope: contextvars.ContextVar[Optional[tuple[float, Any, Iterator[int]]]] = (
    contextvars.ContextVar('scope', default=None)
)


@contextlib.contextmanager
def scope(rate: float, seed: Any) -> Iterator[None]:
  """Enables dropout while a model is called.

  Args:
    rate: The fraction that is dropped, from 0 to below 1.
    seed: int32 [2]; determines what is dropped.
  """
  token = _scope.set((rate, seed, itertools.count()))
  try:
    yield
  finally:
    _scope.reset(token)


@tf.autograph.experimental.do_not_convert
def apply(features: tf.Tensor) -> tf.Tensor:
  """Sets a random fraction of the features to 0, divides others by 1 - rate.

  Each call in a scope drops other features.
  """
  current = _scope.get()
  if current is None:
    return features
  rate, seed, number = current
  return tf.nn.experimental.stateless_dropout(
      features,
      rate,
      tf.random.experimental.stateless_fold_in(seed, next(number)),
      rng_alg='philox',
  )
