# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task says about the use of its models outside of this package."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Usage:
  """How people use an exported model.

  An export's SavedModel has a signature `raw`, which prepares the inputs and
  then predicts.

  Attributes:
    raw: What people have, by name, each [batch, ...].
    prepare_fn: Maps tensors with these names, given as keyword arguments, to
      the model's inputs: what the task's `prepare_test` makes of them.
    inputs: What `raw` has to be and how it is prepared, in words.
    outputs: What the model's outputs mean, in words.
    classes: The names of the outputs, if they are classes.
    files: Files by name that the use needs, such as a vocabulary.
    example: A program that needs nothing but TensorFlow and the export's
      folder, in which it will be `example.py`.
  """

  raw: Mapping[str, tf.TensorSpec]
  prepare_fn: Callable[..., Any]
  inputs: str
  outputs: str
  classes: Sequence[str] = ()
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  example: str = ''
