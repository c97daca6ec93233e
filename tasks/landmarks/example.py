# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names what is in a photo. Needs TensorFlow and this folder alone.

python example.py photo.jpg
"""

import json
import pathlib
import struct
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
# By EXIF orientation: whether to mirror left and right, then quarter turns to
# the left.
TURNS = {
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


def orientation(data: bytes) -> int:
  """The EXIF orientation of a JPEG file; 1, upright, if it has none."""
  at = 2
  while data[:2] == b'\xff\xd8' and data[at : at + 1] == b'\xff':
    size = int.from_bytes(data[at + 2 : at + 4], 'big')
    kind, content = data[at + 1 : at + 2], data[at + 4 : at + 10]
    if kind == b'\xe1' and content == b'Exif\0\0':
      tiff = data[at + 10 : at + 2 + size]
      order = '<' if tiff[:2] == b'II' else '>'
      try:
        (start,) = struct.unpack_from(f'{order}L', tiff, 4)
        (count,) = struct.unpack_from(f'{order}H', tiff, start)
        for i in range(count):
          tag, _, _, value = struct.unpack_from(
              f'{order}HHLH', tiff, start + 2 + 12 * i
          )
          if tag == 0x0112:
            return value
      except struct.error:  # Damaged.
        return 1
    at += 2 + size
  return 1


def read(path: str, size: int) -> tf.Tensor:
  """Reads the square in the middle of a photo, uint8 [size, size, 3].

  As in the import, a photo is turned upright, and what is transparent is white.
  """
  data = pathlib.Path(path).read_bytes()
  if data[:2] == b'\xff\xd8':  # A JPEG file; the default is less exact.
    photo = tf.io.decode_jpeg(data, dct_method='INTEGER_ACCURATE')
  else:
    photo = tf.io.decode_image(data, expand_animations=False)
  photo = tf.cast(photo, tf.float32)
  mirrored, turns = TURNS.get(orientation(data), (False, 0))
  if mirrored:
    photo = tf.image.flip_left_right(photo)
  photo = tf.image.rot90(photo, turns)
  if photo.shape[-1] in (2, 4):
    opaque = photo[..., -1:] / 255
    photo = photo[..., :-1] * opaque + 255 * (1 - opaque)
  photo = tf.broadcast_to(photo, [*photo.shape[:2], 3])  # Gray has one.
  side = min(photo.shape[:2])
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
