# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The wheel has all packages under one top-level name."""

import ast
import tomllib

from absl.testing import absltest

from tests.helpers import paths

# BUILD: data = ["//:sources"]


class PackagingTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    with open(paths.ROOT / 'pyproject.toml', 'rb') as f:
      self.project = tomllib.load(f)

  def test_every_package_is_in_the_wheel(self):
    found = set()
    for folder, name in (
        ('tff_partial', 'tff_partial'),
        ('tasks', 'tff_partial.tasks'),
    ):
      for path in (paths.ROOT / folder).rglob('__init__.py'):
        rest = path.parent.relative_to(paths.ROOT / folder).parts
        found.add('.'.join([name, *rest]))
    self.assertCountEqual(self.project['tool']['setuptools']['packages'], found)

  def test_tasks_can_be_imported_by_either_name(self):
    """They are `tasks` in a checkout and `tff_partial.tasks` in the wheel."""
    for path in (paths.ROOT / 'tasks').rglob('*.py'):
      for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = []
        if isinstance(node, ast.Import):
          names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
          names = [str(node.module)]
        for name in names:
          self.assertNotEqual(name.split('.')[0], 'tasks', path)

  def test_function_of_the_command_exists(self):
    reference = self.project['project']['scripts']['tff-partial']
    module, _, name = reference.partition(':')
    path = module.replace('tff_partial.tasks', 'tasks').replace('.', '/')
    source = (paths.ROOT / f'{path}.py').read_text(encoding='utf-8')
    functions = [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    ]
    self.assertIn(name, functions)


if __name__ == '__main__':
  absltest.main()
