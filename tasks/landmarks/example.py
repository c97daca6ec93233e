# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names what is in a photo. Needs TensorFlow and this folder alone.

python example.py photo.jpg
"""

import json
import pathlib
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent


def read(path: str, size: int) -> tf.Tensor:
  """Reads the square in the middle of a photo, uint8 [size, size, 3]."""
  photo = tf.io.decode_image(
      tf.io.read_file(path), channels=3, expand_animations=False
  )
  side = tf.reduce_min(tf.shape(photo)[:2])
  photo = tf.image.resize_with_crop_or_pad(photo, side, side)
  photo = tf.image.resize(photo, [size, size], antialias=True)
  return tf.cast(tf.clip_by_value(tf.round(photo), 0, 255), tf.uint8)


def main(path: str) -> None:
  predict = tf.saved_model.load(str(FOLDER / 'saved_model')).signatures['raw']
  size = predict.structured_input_signature[1]['pixels'].shape[1]
  chances = tf.nn.softmax(
      predict(pixels=read(path, size)[tf.newaxis])['outputs'][0]
  )
  description = json.loads((FOLDER / 'export.json').read_text('utf-8'))
  for i in tf.argsort(chances, direction='DESCENDING')[:3].numpy():
    print(f'{description["classes"][i]}\t{chances[i]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
