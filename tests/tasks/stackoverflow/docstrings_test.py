# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The sentences of installed modules' docstrings."""

import os
import tempfile

from absl.testing import absltest

from tasks.stackoverflow import docstrings
from tasks.stackoverflow import vocabulary
from tff_partial.data import sql_clients

_MODULE = '''
"""Summary of the module here.

Some paragraph that goes on
over two lines. And `this` is a second one with :class:`~a.Thing` in it.

  >>> code = that_is('left out', because='it has prompts')

Args:
  name: Explained in a sentence
    that goes on below. Not long.
  count (int): The number of all those things.

x : int, optional
    What NumPy's style says about it.

a = b == c is not a sentence of this.
No full stop at the end of it
"""
'''


class DocstringsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def make(self, name, packages):
    return docstrings.create_docstrings(
        os.path.join(self.folder, name), packages=packages
    )

  def test_sentences(self):
    path = os.path.join(self.folder, 'module.py')
    with open(path, 'w', encoding='utf-8') as f:
      f.write(_MODULE + '# Long enough.\n' * 1000)
    train, test = docstrings._read_module(
        path, {'summary of the module here .'}
    )
    self.assertEqual(
        train,
        [
            'some paragraph that goes on over two lines .',
            'and this is a second one with a . thing in it .',
            'explained in a sentence that goes on below .',
            'the number of all those things .',
            "what numpy's style says about it .",
        ],
    )
    self.assertEmpty(test)  # One docstring cannot be divided.

  def test_same_bytes_twice(self):
    packages = ('jinja2', 'mpmath')
    folders = [self.make(name, packages) for name in ('a', 'b')]
    self.assertEqual(*map(os.path.basename, folders))
    for name in ('train.sqlite', 'test.sqlite', 'vocabulary.txt'):
      contents = []
      for folder in folders:
        with open(os.path.join(folder, name), 'rb') as f:
          contents.append(f.read())
      self.assertEqual(*contents, msg=name)

  def test_modules(self):
    folder = self.make('a', ('jinja2',))
    train, test = (
        sql_clients.SqlClients(os.path.join(folder, f'{name}.sqlite'))
        for name in ('train', 'test')
    )
    self.assertEqual(list(train.client_ids), list(test.client_ids))
    self.assertIn('jinja2.filters', train.client_ids)
    said = []
    for client_id in train.client_ids:
      sizes = train.num_examples(client_id), test.num_examples(client_id)
      self.assertGreaterEqual(sum(sizes), 100)
      self.assertBetween(sizes[1], 10, sizes[0] / 4)
      said.extend(train.read(client_id)['tokens'])
      said.extend(test.read(client_id)['tokens'])
    self.assertLen(set(said), len(said))
    self.assertGreater(len(vocabulary.load(folder).words), 500)

  def test_packages_without_enough(self):
    with self.assertRaisesRegex(
        ValueError, r'`packages` with 100 sentences .* found \[\]'
    ):
      self.make('a', ())
    self.assertEmpty(os.listdir(os.path.join(self.folder, 'a')))


if __name__ == '__main__':
  absltest.main()
