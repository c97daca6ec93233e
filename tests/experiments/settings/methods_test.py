# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of algorithms is complete, and no other module compares names."""

import ast

from absl.testing import absltest
from absl.testing import parameterized

from tests.helpers import paths
from tff_partial.experiments import parts
from tff_partial.experiments.settings import config as config_lib
from tff_partial.experiments.settings import methods

# BUILD: data = ["//:sources"]


def comparisons(tree: ast.AST, names) -> list[int]:
  """The lines that compare something with one of the names."""
  found = []
  for node in ast.walk(tree):
    if isinstance(node, (ast.Compare, ast.MatchValue)):
      values = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
      if values & set(names):
        found.append(node.lineno)
  return found


class MethodsTest(parameterized.TestCase):

  @parameterized.parameters(*methods.METHODS)
  def test_builds_the_algorithm_of_its_name(self, name):
    config = config_lib.create(algorithm=name)
    algorithm = parts.build_algorithm(config)
    method = config.method
    self.assertEqual(method.trains_alone, not algorithm.trains_shared)
    self.assertEqual(method.split_in_words is not None, algorithm.copies_model)
    # Training alone is fine-tuning after all rounds, and is named so.
    if not method.trains_alone:
      self.assertEqual(algorithm.name, name)
    self.assertNotEqual(method.baseline, method.candidate)

  def test_aliases_and_questions_name_known_algorithms(self):
    for algorithm, _ in methods.ALIASES.values():
      self.assertIn(algorithm, methods.METHODS)
    self.assertNoCommonElements(methods.ALIASES, methods.METHODS)
    known = {*methods.METHODS}
    known |= {
        methods.equal_steps_name(name)
        for name, method in methods.METHODS.items()
        if method.equal_steps_with in known
    }
    for _, *pair in methods.QUESTIONS:
      self.assertContainsSubset(pair, known)

  def test_no_other_file_compares_an_algorithms_name(self):
    names = {*methods.METHODS, *methods.ALIASES}
    self.assertEqual(comparisons(ast.parse("x == 'fed_avg'"), names), [1])
    self.assertEqual(comparisons(ast.parse("x in ('apfl', y)"), names), [1])
    # These are also a source of data and a policy for newcomers.
    homonyms = {'local', 'finetune'}
    for folder in ('tff_partial', 'tasks'):
      for path in (paths.ROOT / folder).rglob('*.py'):
        if path.name != 'methods.py':
          tree = ast.parse(path.read_text(encoding='utf-8'))
          self.assertEmpty(comparisons(tree, names - homonyms), path)


if __name__ == '__main__':
  absltest.main()
