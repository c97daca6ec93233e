# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The notebook runs from beginning to end, and its cells in another kernel."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
import nbclient
import nbformat
import psutil

from tests.helpers import paths

_ROOT = paths.ROOT
_NOTEBOOK = _ROOT / 'notebooks' / 'partial_personalization.ipynb'
_SECONDS = 600  # For one cell.


def execute(notebook, folder=_NOTEBOOK.parent):
  """Runs the cells in a kernel of this Python, in a folder."""
  nbclient.NotebookClient(
      notebook,
      timeout=_SECONDS,
      kernel_name='python3',
      resources={'metadata': {'path': str(folder)}},
  ).execute()


def cells_only(*sources):
  return nbformat.v4.new_notebook(
      cells=[nbformat.v4.new_code_cell(source) for source in sources]
  )


def code_cells(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def printed(cell):
  return ''.join(
      output.text
      for output in cell.outputs
      if output.output_type == 'stream' and output.name == 'stdout'
  )


def outline(cell):
  """What a cell shows: the first word of each line, and kinds of pictures."""
  words = [
      re.sub(r'\d+', '#', line.split()[0])
      for line in printed(cell).splitlines()
      if line.strip()
  ]
  shown = [sorted(output.data) for output in cell.outputs if 'data' in output]
  return words, shown


def percentages(cell):
  return [float(n) for n in re.findall(r'([\d.]+)%', printed(cell))]


def workers_of(folder):
  """TFF's workers whose environment names this folder."""
  found = []
  for process in psutil.process_iter():
    with contextlib.suppress(psutil.Error):
      if process.name() == 'worker_binary' and any(
          folder in value for value in process.environ().values()
      ):
        found.append(process)
  return found


class NotebookTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    # Kernels keep histories and connections in the home directory.
    self.enter_context(
        mock.patch.dict(
            os.environ,
            {
                'HOME': self.folder,
                'TFF_PARTIAL_CACHE': f'{self.folder}/cache',
                'TF_CPP_MIN_LOG_LEVEL': '3',
            },
        )
    )

  def test_is_committed_with_the_outputs_of_one_run(self):
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    self.assertEqual(
        [cell.execution_count for cell in cells],
        [*range(1, len(cells) + 1)],
    )
    for cell in cells:
      self.assertNotEmpty(cell.outputs)
      for output in cell.outputs:
        self.assertIn(output.output_type, ('stream', 'display_data'))
        self.assertNotEqual(output.get('name'), 'stderr')
      self.assertNotRegex(printed(cell), r'(^|\s)/\w')  # Somebody's folder.

  def test_runs_in_place(self):
    committed = nbformat.read(_NOTEBOOK, as_version=4)
    file = pathlib.Path(self.folder, 'tour.ipynb')
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    for cell in code_cells(notebook):
      cell.outputs = []
      cell.source = cell.source.replace(
          "FOLDER = 'out/notebook'", f'FOLDER = {self.folder + "/runs"!r}'
      )
    # The project is where this test is, and not above the copy.
    first = code_cells(notebook)[0]
    first.source = f'%cd -q {_ROOT}\n{first.source}'
    nbformat.write(notebook, file)
    result = subprocess.run(
        [
            *(sys.executable, '-c', 'from nbclient import cli; cli.main()'),
            *('--inplace', str(file)),
        ],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    # The kernel prints here what it prints when it ends.
    self.assertNotIn('Exception ignored', result.stderr)
    self.assertNotIn('Traceback', result.stderr)
    self.assertEmpty(workers_of(self.folder))
    executed = nbformat.read(file, as_version=4)
    for before, after in zip(
        code_cells(committed), code_cells(executed), strict=True
    ):
      self.check_committed(before, after)
    self.check_results(executed)

  def check_committed(self, before, after):
    """Checks that the committed outputs are what a run of today shows.

    Another processor rounds differently, so accuracies need not be equal.
    """
    stale = 'Run `jupyter execute --inplace` and commit the notebook.'
    self.assertEqual(outline(before), outline(after), stale)
    for old, new in zip(percentages(before), percentages(after), strict=True):
      self.assertAlmostEqual(old, new, delta=10, msg=stale)

  def check_results(self, notebook):
    text = '\n'.join(printed(cell) for cell in code_cells(notebook))
    accuracy = {
        tuple(line.split()[:2]): float(line.split()[2].rstrip('%'))
        for line in text.splitlines()
        if line.startswith(('fed_sim ', 'fed_alt '))
    }
    for algorithm in ('fed_sim', 'fed_alt'):
      self.assertGreater(
          accuracy[algorithm, 'personalized'],
          accuracy[algorithm, 'non_personalized'],
      )
    pictures = [
        output
        for cell in code_cells(notebook)
        for output in cell.outputs
        if 'image/png' in output.get('data', {})
    ]
    self.assertLen(pictures, 4)
    self.assertTrue(
        pathlib.Path(self.folder, 'runs/fed_alt/report.html').exists()
    )
    # The exported model predicts the same as the writer's own.
    last = {
        line.split()[0]: line.split()[-1] for line in text.splitlines() if line
    }
    (writer,) = [name for name in last if name.startswith('writer_')]
    self.assertEqual(last['exported'], last[writer])

  def test_clones_the_project_where_it_is_missing(self):
    repository = pathlib.Path(self.folder, 'repository')
    repository.mkdir()
    (repository / 'run_experiment.py').touch()
    git = ('git', '-c', 'user.name=a', '-c', 'user.email=a@example.com')
    for command in (
        ('init', '--quiet'),
        ('add', '.'),
        ('commit', '--quiet', '--message=One'),
    ):
      subprocess.run([*git, *command], cwd=repository, check=True)
    elsewhere = pathlib.Path(self.folder, 'elsewhere')
    elsewhere.mkdir()
    first = code_cells(nbformat.read(_NOTEBOOK, as_version=4))[0].source
    with self.assertRaisesRegex(
        nbclient.exceptions.CellExecutionError, 'Set REPOSITORY'
    ):
      execute(cells_only(first), elsewhere)
    first, changed = re.subn(
        r"^REPOSITORY = '.*'$",
        f"REPOSITORY = 'file://{repository}'",
        first,
        flags=re.MULTILINE,
    )
    self.assertEqual(changed, 1)
    # The clone is found again by the next run, from the same folder.
    for _ in range(2):
      notebook = cells_only(first, 'print(os.getcwd())')
      execute(notebook, elsewhere)
      self.assertEqual(
          pathlib.Path(printed(notebook.cells[1]).strip()).resolve(),
          (elsewhere / 'tff-partial').resolve(),
      )

  def test_cells_run_in_another_kernel(self):
    cells = [
        'import os, sys\nsys.path.insert(0, os.path.abspath(".."))\n'
        'from notebooks import other_kernel\n'
        'other_kernel.use(sys.executable)\nprint(os.getpid())',
        'import os\nnumber = 41',
        '%env NUMBER={number}',
        'print(os.getpid(), os.environ["NUMBER"])\nnumber + 1',
        'raise ValueError("as it should")',
    ]
    notebook = cells_only(*cells)
    with self.assertRaisesRegex(
        nbclient.exceptions.CellExecutionError, 'above'
    ):
      execute(notebook)
    here, _, _, there, failed = notebook.cells
    process, number = printed(there).split()
    self.assertNotEqual(printed(here).strip(), process)
    self.assertEqual(number, '41')
    self.assertIn(
        '42', [o.get('data', {}).get('text/plain') for o in there.outputs]
    )
    self.assertIn('as it should', str(failed.outputs))


if __name__ == '__main__':
  absltest.main()
