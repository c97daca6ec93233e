# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The public names are there, and each says what there is to know about it."""

import ast
import dataclasses
import inspect
import os
import re
import signal
import subprocess
import sys
import types
import typing

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from tests.helpers import paths
import tff_partial as tffp

# BUILD: data = ["//:docs/api.md"]
_SOURCE = paths.ROOT / 'tff_partial' / '__init__.py'


def things():
  """Every public function and class, those of public modules too, by name."""
  for name in tffp.__all__:
    value = getattr(tffp, name)
    if isinstance(value, types.ModuleType):
      for inner, part in vars(value).items():
        if getattr(part, '__module__', None) == value.__name__:
          if not inner.startswith('_') and callable(part):
            yield f'{name}.{inner}', part
    elif inspect.isclass(value) or inspect.isfunction(value):
      yield name, value


def sections(docstring):
  """The indented text under `Args:` and the like, by its title."""
  found = re.split(r'^(\w+):\n', inspect.cleandoc(docstring), flags=re.M)
  return dict(zip(found[1::2], found[2::2]))


def problems(name, value):
  """What a reader of a docstring would miss."""
  docstring = value.__doc__ or ''
  if not docstring.strip():
    return [f'{name} has no docstring']
  told = sections(docstring)
  found = []
  if inspect.isclass(value):
    if issubclass(value, Exception):
      return []
    fields = [
        field
        for field in getattr(value, '__annotations__', {})
        if not field.startswith('_')
    ]
    missing = [f for f in fields if f'{f}:' not in told.get('Attributes', '')]
    if missing:
      found.append(f'{name} does not say what {missing} are')
    for inner, method in vars(value).items():
      is_public = not inner.startswith('_') or inner == '__init__'
      if inspect.isfunction(method) and is_public:
        if not (_is_generated(value, inner) or _is_inherited(value, inner)):
          found.extend(problems(f'{name}.{inner}', method))
    return found
  signature = inspect.signature(inspect.unwrap(value))
  parameters = [p for p in signature.parameters if p not in ('self', 'cls')]
  if len(parameters) > 1 or (parameters and 'Args' in told):
    arguments = told.get('Args', '')
    missing = [p for p in parameters if not re.search(rf'\b{p}:', arguments)]
    if missing:
      found.append(f'{name} does not say what {missing} are')
  source = inspect.getsource(inspect.unwrap(value))
  raised = set(re.findall(r'^ +raise errors\.(\w+)\(', source, re.M))
  for error in raised:
    if error not in told.get('Raises', '') and 'Raises' not in told:
      found.append(f'{name} does not say that it raises {error}')
  return found


def _is_generated(cls, method):
  """Whether the method is that of a record or of a protocol."""
  is_record = dataclasses.is_dataclass(cls) or typing.Protocol in cls.__bases__
  return is_record and method == '__init__'


def _is_inherited(cls, method):
  """Whether a base class documents the method."""
  return any(
      getattr(getattr(base, method, None), '__doc__', None)
      for base in cls.__mro__[1:]
      if base is not object and method != '__init__'
  )


class PublicApiTest(parameterized.TestCase):

  def test_names_exist_and_are_visible_to_type_checkers(self):
    told = {}
    for node in ast.walk(ast.parse(_SOURCE.read_text(encoding='utf-8'))):
      if isinstance(node, ast.ImportFrom) and node.module != 'typing':
        for alias in node.names:
          where = f'{node.module}.{alias.name}'
          told[alias.asname or alias.name] = where.replace(
              'tff_partial.', '', 1
          )
    where = {n: w.replace(':', '.') for n, w in tffp._WHERE.items()}
    told['errors'] = where['errors']
    self.assertEqual(told, where)
    for name in tffp.__all__:
      self.assertIsNotNone(getattr(tffp, name))
    self.assertContainsSubset(tffp.__all__, dir(tffp))
    self.assertFalse(hasattr(tffp, 'fed_up'))

  def test_tour_mentions_every_name(self):
    for text in (tffp.__doc__, (paths.ROOT / 'docs/api.md').read_text()):
      for name in tffp.__all__:
        self.assertRegex(text, rf'\b{name}\b')

  def test_help_lists_every_name_in_one_line(self):
    _, _, listed = tffp.__doc__.partition('The names, in one line each')
    listed, _, _ = listed.partition('[1] ')
    lines = re.findall(r'^  (\w+): ((?:.|\n(?=      ))+)$', listed, re.M)
    found = {name: ' '.join(text.split()) for name, text in lines}
    self.assertCountEqual(found, tffp.__all__)
    for name, text in found.items():
      if name != 'ModelFn':  # A type has no docstring.
        self.assertEqual(
            text, inspect.getdoc(getattr(tffp, name)).split('\n')[0]
        )

  def test_import_is_quick(self):
    program = 'import sys, tff_partial; print(*sys.modules)'
    modules = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        check=True,
        cwd=paths.ROOT,
        text=True,
    ).stdout.split()
    self.assertNoCommonElements(modules, ('numpy', 'tensorflow'))

  @parameterized.parameters((False, False), (True, False), (True, True))
  def test_a_program_ends_quietly_and_leaves_no_worker(
      self, computes, in_background
  ):
    # A shell that is not interactive lets these ignore SIGINT.
    shell = ('sh', '-c', 'trap "" INT; exec "$@"', 'sh')
    program = (
        'import numpy as np, psutil, tensorflow_federated as tff, tff_partial\n'
        'double = tff.tensorflow.computation(lambda x: 2 * x, np.int32)\n'
        f'print(double(3) if {computes} else 6)\n'
        'print(*(c.pid for c in psutil.Process().children()))'
    )
    for _ in range(3):
      # TFF's own context looks for a free port for its worker, and waits
      # without end if another program takes the port first.
      run = subprocess.Popen(
          [*(shell if in_background else ()), sys.executable, '-c', program],
          stdout=subprocess.PIPE,
          stderr=subprocess.PIPE,
          cwd=paths.ROOT,
          env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
          text=True,
          start_new_session=True,
      )
      try:
        out, err = run.communicate(timeout=100)
        break
      except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    else:
      self.fail('No answer, three times.')
    result, *workers = out.split()
    self.assertEqual((run.returncode, result), (0, '6'))
    self.assertNotIn('Exception ignored', err)
    self.assertEqual(bool(workers), computes)
    for pid in workers:
      self.assertFalse(psutil.pid_exists(int(pid)))

  def test_docstrings_are_complete(self):
    found = [p for name, value in things() for p in problems(name, value)]
    self.assertEmpty(found, '\n' + '\n'.join(found))

  def test_algorithms_name_their_source(self):
    docstring = tffp.algorithms.__doc__
    for name, value in things():
      if name.startswith('algorithms.') and inspect.isfunction(value):
        if name != 'algorithms.finetune':  # Nobody's in particular.
          [number, *_] = re.findall(r'\[(\d+)', value.__doc__)
          self.assertRegex(docstring, rf'\[{number}\] .*\n?.*https://')

  def test_types_are_annotated(self):
    for name, value in things():
      if inspect.isfunction(value):
        function = inspect.unwrap(value)
        for parameter in inspect.signature(function).parameters:
          self.assertIn(parameter, function.__annotations__, name)

  def test_this_test_can_fail(self):
    def undocumented(a, b):
      """Does something.

      Args:
        a: One.
      """

    self.assertEqual(
        problems('f', undocumented), ["f does not say what ['b'] are"]
    )
    self.assertTrue(problems('g', lambda a, b: None))


if __name__ == '__main__':
  absltest.main()
