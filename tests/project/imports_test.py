# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The direction of imports, by reading them: nothing is run here.

  run_experiment -> tasks -> tff_partial

and inside `tff_partial` only downwards in the list below.
"""

import ast
from collections.abc import Iterator
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

from tests.helpers import paths

# BUILD: data = ["//:sources"]
# BUILD: size = "small"
_ROOT = paths.ROOT

# From what uses to what is used; modules in a line do not use each other.
_LAYERS = (
    ('comparison_report',),
    ('comparison_plots', 'doctor', 'training', 'evaluation', 'report'),
    ('sharded_round', 'remote_workers', 'serve_worker', 'comparison'),
    ('process', 'findings', 'page', 'runtime', 'history', 'dispatcher'),
    ('algorithms', 'plots', 'run_results', 'schedules', 'summary', 'weights'),
    ('formatting', 'gate'),
    ('local_update', 'client_table', 'personal_store', 'connection'),
    ('copied_model', 'examples', 'clients', 'store_rows', 'adapters'),
    ('partial_model',),
    ('partition', 'group_norm', 'dropout', 'worker_process', 'messages'),
)
_WITHOUT_TENSORFLOW = (
    'tff_partial.learning.partition',
    'tff_partial.training.personal_store',
    'tff_partial.training.store_rows',
    'tff_partial.runtime.serve_worker',
    'tff_partial.runtime.worker_process',
    'tff_partial.evaluation.client_table',
    'tff_partial.learning.clients',
    'tff_partial.evaluation.summary',
    'tff_partial.reporting.report',
    'tff_partial.reporting.plots',
    'tff_partial.reporting.page',
    'tff_partial.reporting.run_results',
    'tff_partial.evaluation.comparison',
    'tff_partial.reporting.comparison_plots',
    'tff_partial.reporting.comparison_report',
    'tff_partial.evaluation.findings',
    'tff_partial.reporting.formatting',
    'tff_partial.evaluation.gate',
    'tff_partial.training.history',
    'tff_partial.experiments.combinations',
    'tff_partial.experiments.config',
    'tff_partial.experiments.run_folder',
)
_HEAVY = ('tensorflow', 'tensorflow_federated', 'keras', 'jax')


def modules() -> dict[str, pathlib.Path]:
  """Our modules by name, but for tests."""
  found = {'run_experiment': _ROOT / 'run_experiment.py'}
  for package in ('tasks', 'tff_partial'):
    for path in sorted((_ROOT / package).rglob('*.py')):
      name = '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
      found[name.removesuffix('.__init__')] = path
  return found


def imports(path: pathlib.Path, *, top_level: bool = False) -> Iterator[str]:
  """Names of the modules that a file imports, in functions too or not."""
  body = ast.parse(path.read_text(encoding='utf-8'))
  for node in body.body if top_level else ast.walk(body):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} imports relative to itself.'
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def reachable(name: str) -> set[str]:
  """All modules, ours and others', that importing one of ours imports."""
  ours, seen, waiting = modules(), set(), [name]
  while waiting:
    current = waiting.pop()
    if current in seen:
      continue
    seen.add(current)
    if current in ours:
      waiting.extend(imports(ours[current], top_level=True))
      waiting.append(current.rpartition('.')[0])  # Its package.
  return seen


class ImportsTest(parameterized.TestCase):

  def test_every_module_has_its_layer(self):
    found = {
        name.removeprefix('tff_partial.')
        for name in modules()
        if name.startswith('tff_partial.')
    }
    self.assertCountEqual(found, [name for layer in _LAYERS for name in layer])

  @parameterized.parameters(
      *(name for name in modules() if name.startswith('tff_partial'))
  )
  def test_library_imports_downwards(self, name):
    layer_of = {
        f'tff_partial.{module}': i
        for i, layer in enumerate(_LAYERS)
        for module in layer
    }
    for imported in imports(modules()[name]):
      self.assertNotIn(imported.split('.')[0], ('tasks', 'run_experiment'))
      if imported in layer_of:
        self.assertGreater(layer_of[imported], layer_of[name], imported)

  @parameterized.parameters(
      *(name for name in modules() if name.startswith('tasks'))
  )
  def test_tasks_import_no_program(self, name):
    for imported in imports(modules()[name]):
      self.assertNotIn(imported.split('.')[0], ('run_experiment', 'tests'))

  def test_no_circles_among_tasks(self):
    ours = modules()
    names = [name for name in ours if name.startswith('tasks.')]
    uses = {
        name: {i for i in imports(ours[name]) if i in names} for name in names
    }
    while uses:
      free = [name for name, used in uses.items() if not used & uses.keys()]
      self.assertNotEmpty(free, f'These import each other: {sorted(uses)}.')
      for name in free:
        del uses[name]

  @parameterized.parameters(*_WITHOUT_TENSORFLOW)
  def test_imports_no_tensorflow(self, name):
    self.assertIn(name, modules())
    found = {imported.split('.')[0] for imported in reachable(name)}
    self.assertNoCommonElements(found, _HEAVY)

  def test_flags_are_checked_before_tensorflow_is_imported(self):
    found = {i.split('.')[0] for i in reachable('run_experiment')}
    self.assertNoCommonElements(found, _HEAVY)

  @parameterized.parameters(*modules())
  def test_flags_are_read_by_programs_alone(self, name):
    text = modules()[name].read_text(encoding='utf-8')
    if "__name__ == '__main__'" not in text:
      self.assertNotIn('FLAGS', text)

  def test_this_test_sees_tensorflow_where_it_is(self):
    self.assertIn('tensorflow', reachable('tff_partial.learning.algorithms'))
    self.assertIn(
        'tensorflow_federated', reachable('tff_partial.experiments.run')
    )


if __name__ == '__main__':
  absltest.main()
