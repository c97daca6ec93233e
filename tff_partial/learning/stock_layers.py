# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Models of Keras's own layers alone, which load where this package is not.

A layer that Keras does not have can say what it consists of: its method
`to_stock()` returns a new layer, or a model, that computes the same. It has the
same variables in the same order, unless `stock_weights()` returns their values.
"""

from collections.abc import Collection, Iterator
import json
from typing import Any

import numpy as np
import tensorflow as tf

from tff_partial.learning import keras_layers

# How Keras writes arguments that are neither objects nor functions.
_VALUES = ('__tensor__', '__numpy__', '__tuple__', '__bytes__', 'TypeSpec')


def replace(model: tf.keras.Model) -> tf.keras.Model:
  """Replaces the layers that have `to_stock`.

  Args:
    model: Any model.

  Returns:
    A model with the same values, or `model` if no layer can be replaced, or if
    it is neither functional nor sequential.
  """
  if (
      not any(hasattr(x, 'to_stock') for x in keras_layers.inside(model))
      or 'layers' not in model.get_config()
  ):
    return model
  clone = type(model).from_config(_stock_config(model))
  clone.set_weights(_stock_weights(model))
  return clone


def foreign(config: Any) -> list[str]:
  """Names of the classes in a model's configuration that Keras does not have.

  Args:
    config: What `json.loads(model.to_json())` returns. Functions count too.
  """
  return sorted(
      {
          found['class_name']
          for found in _objects(config)
          if found['class_name'] not in _VALUES
          and not str(found.get('module') or '').startswith('keras')
          or found['class_name'] == 'Lambda'
      }
  )


def config_of(model: tf.keras.Model) -> Any:
  """The configuration of a model and of its layers, as JSON.

  Raises:
    NotImplementedError: If the model is a subclass that has none.
    TypeError: If something in it cannot be written as JSON.
  """
  return json.loads(model.to_json())['config']


def renumber(config: dict[str, Any], names: Collection[str], by: int) -> None:
  """Changes the numbers of calls by which a model's layers are referred to.

  Keras 2 counts the call that made a model in a model, so that its first use
  has number 1. Of layers it has number 0, and in Keras 3 of models, too.

  Args:
    config: A model's configuration, which is changed.
    names: The layers whose calls to renumber.
    by: What to add.
  """

  def change(node: Any) -> None:
    # [name of a layer, number of a call, ...]
    if isinstance(node, list) and len(node) > 1 and isinstance(node[1], int):
      node[1] += by * (node[0] in names)
    for value in node.values() if isinstance(node, dict) else node:
      if isinstance(value, (dict, list)):
        change(value)

  for layer in config['layers']:
    change(layer.get('inbound_nodes', []))
  change(config.get('output_layers', []))


def _stock_config(model: tf.keras.Model) -> dict[str, Any]:
  config = json.loads(json.dumps(model.get_config(), default=list))
  layers = {layer.name: layer for layer in model.layers}
  models = set()
  for entry in config['layers']:
    layer = layers.get(entry['config']['name'])
    if hasattr(layer, 'to_stock'):
      stock = layer.to_stock()
      entry.update(tf.keras.layers.serialize(stock))
      if isinstance(stock, tf.keras.Model):
        models.add(layer.name)
    elif isinstance(layer, tf.keras.Model) and 'layers' in entry['config']:
      entry['config'] = _stock_config(layer)
  renumber(config, models, 1)
  return config


def _stock_weights(model: tf.keras.Model) -> list[np.ndarray]:
  values = []
  for layer in model.layers:
    if hasattr(layer, 'stock_weights'):
      values += layer.stock_weights()
    elif isinstance(layer, tf.keras.Model):
      values += _stock_weights(layer)
    else:
      values += layer.get_weights()
  return values


def _objects(config: Any) -> Iterator[dict[str, Any]]:
  if isinstance(config, dict):
    if 'class_name' in config and 'config' in config:
      yield config
    config = list(config.values())
  if isinstance(config, list):
    for value in config:
      yield from _objects(value)
