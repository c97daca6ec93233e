# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes a folder with the sentences of a few people."""

import os

from tasks.stackoverflow import vocabulary
from tff_partial.data import sql_writer

# Padding 0, a 1, b 2, c 3, other words 4, start 5, end 6.
ABC = vocabulary.Vocabulary(('a', 'b', 'c'))
SENTENCES = ['a b c a b c a b', 'b c a b', 'c a b c a b']


def write_folder(folder, **people):
  for name in ('train', 'test'):
    with sql_writer.SqlWriter(
        os.path.join(folder, f'{name}.sqlite'), vocabulary.FEATURES
    ) as writer:
      for person, sentences in people.items():
        writer.write(person, {'tokens': sentences})
  vocabulary.save(folder, ABC)
