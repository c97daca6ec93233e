# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dropout in adapters, seeded by the step that it is part of.

A remedy that [1, Appendix] tries against personalization that hurts. Keras's
dropout draws from a generator with a state, so that what is dropped would
depend on which clients ran before; here it is a function of the step's seed and
of the layer's place in the model. Layers do not know rate or seed: the training
step opens a `scope` around the model's call, and outside of one, in tests and
in exported models, `apply` does nothing.

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
  """Lets `apply` drop, while a model is called.

  Args:
    rate: The part that is dropped, from 0 to below 1.
    seed: int32 [2]; what is dropped depends on nothing else.
  """
  token = _scope.set((rate, seed, itertools.count()))
  try:
    yield
  finally:
    _scope.reset(token)


@tf.autograph.experimental.do_not_convert
def apply(features: tf.Tensor) -> tf.Tensor:
  """Features with a random part set to 0, the others divided by 1 - rate.

  Every call in a scope drops another part.
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
