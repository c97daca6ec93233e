# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes people disagree: each one has two of ten labels the other way round.

python results/swap_labels.py mnist_by_writer.npz swapped_by_writer.npz

Which two depends on the person alone, so a model that all share cannot be right
about everybody.
"""

import sys

import numpy as np


def swap(labels: np.ndarray, writers: np.ndarray) -> np.ndarray:
  """The labels after each writer has swapped two of them.

  Args:
    labels: int [examples], 0 to 9.
    writers: Who wrote them, int [examples], no less than 0.
  """
  swapped = labels.copy()
  for writer in np.unique(writers):
    first, second = np.random.default_rng(int(writer)).permutation(10)[:2]
    own = writers == writer
    swapped[own & (labels == first)] = second
    swapped[own & (labels == second)] = first
  return swapped


def main(source: str, target: str) -> None:
  with np.load(source) as file:
    pixels, label, writer = file['pixels'], file['label'], file['writer']
  np.savez(target, pixels=pixels, label=swap(label, writer), writer=writer)


if __name__ == '__main__':
  main(*sys.argv[1:])
