# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The searches that flags describe."""

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments.comparisons import search_flags

flags_lib.define()


class SearchFlagsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('--learning_rate=0.1,1', True),
      ('--epochs=1,2', False),
      # What is searched holds for both algorithms.
      ('--personal_epochs=1,2', False),
      ('--learning_rate=0.1,1 --max_steps=5', False),
      ('--learning_rate=0.1,1 --noequal_steps', False),
  )
  def test_fed_alt_with_the_passes_of_ffgg(self, given, has_them):
    words = ['program', '--tune', '--algorithm=fed_alt,ffgg', *given.split()]
    with flagsaver.flagsaver():
      flags.FLAGS(words)
      search = search_flags.read_search()
    epochs = {s.name: s.changes.get('personal_epochs') for s in search.schemes}
    equal = {'fed_alt with equal steps': 10} if has_them else {}
    self.assertEqual(epochs, {'fed_alt': None, 'ffgg': None, **equal})


if __name__ == '__main__':
  absltest.main()
