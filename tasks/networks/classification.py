# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Partial models that classify images and rows of tables."""

import collections
from collections.abc import Callable, Mapping

import tensorflow as tf

from tff_partial.learning import lora as lora_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

from . import additions as additions_lib


def create_model_fn(
    build: Callable[..., tf.keras.Model],
    input_shape: tuple[int, ...],
    splits: Mapping[str, partition.Rule],
    split: str,
    *,
    lora: lora_lib.Lora = lora_lib.DEFAULT,
    mean_regularization: float = 0.0,
) -> partial_model.ModelFn:
  """Returns a function that makes the models of a split.

  Models of some splits have more layers than others (`additions.py`).

  Args:
    build: Makes a Keras model from inputs to logits; its argument `additions`
      says which layers are added.
    input_shape: The shape of one input: (height, width, channels) of an image.
    splits: The task's rules by name.
    split: A name of `splits`, or any that all tasks have.
    lora: The low-rank matrices of the splits that have some.
    mean_regularization: The weight of the mean regularization of FedDBE in
      splits with `bias`.

  Raises:
    errors.SettingsError: If there is no such split.
  """
  rule = partition.rule_by_name(split, splits)
  additions = additions_lib.of_split(
      split, lora, mean_regularization=mean_regularization
  )
  return lambda: partial_model.PartialModel(
      build(additions=additions),
      rule,
      loss_fn=lambda labels, logits: tf.reduce_mean(
          _cross_entropy(labels, logits)
      ),
      metric_fns={
          'loss': lambda labels, logits: (
              _cross_entropy(labels, logits),
              tf.ones_like(labels),
          ),
          'accuracy': lambda labels, logits: (
              tf.equal(tf.argmax(logits, -1, output_type=tf.int32), labels),
              tf.ones_like(labels),
          ),
      },
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, *input_shape], tf.float32),
          y=tf.TensorSpec([None], tf.int32),
      ),
      rule_name=split,
      frozen=additions_lib.frozen(split, rule),
      classifies=True,
  )


def _cross_entropy(labels, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=labels, logits=logits
  )
