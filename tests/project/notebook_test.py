# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The notebook runs from beginning to end, and its cells in another kernel."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import nbclient
import nbformat

from tests.helpers import paths

_ROOT = paths.ROOT
_NOTEBOOK = _ROOT / 'notebooks' / 'partial_personalization.ipynb'
_SECONDS = 600  # For one cell.


def execute(notebook):
  """Runs the cells in a kernel of this Python, in the notebook's folder."""
  nbclient.NotebookClient(
      notebook,
      timeout=_SECONDS,
      kernel_name='python3',
      resources={'metadata': {'path': str(_NOTEBOOK.parent)}},
  ).execute()


def printed(cell):
  return ''.join(
      output.text
      for output in cell.outputs
      if output.output_type == 'stream' and output.name == 'stdout'
  )


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

  def test_is_committed_without_outputs(self):
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
      if cell.cell_type == 'code':
        self.assertEmpty(cell.outputs)
        self.assertIsNone(cell.execution_count)

  def test_runs(self):
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    (named,) = [c for c in notebook.cells if "FOLDER = 'out/" in c.source]
    named.source = named.source.replace(
        "FOLDER = 'out/notebook'", f'FOLDER = {self.folder + "/runs"!r}'
    )
    execute(notebook)
    text = '\n'.join(printed(c) for c in notebook.cells if 'outputs' in c)
    accuracy = {
        tuple(line.split()[:-1]): float(line.split()[-1].rstrip('%'))
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
        for cell in notebook.cells
        for output in cell.get('outputs', ())
        if 'image/svg+xml' in output.get('data', {})
    ]
    self.assertLen(pictures, 3)
    self.assertTrue(
        pathlib.Path(self.folder, 'runs/fed_alt/report.html').exists()
    )
    # The exported model predicts the same as the writer's own.
    last = {
        line.split()[0]: line.split()[-1] for line in text.splitlines() if line
    }
    (writer,) = [name for name in last if name.startswith('writer_')]
    self.assertEqual(last['exported'], last[writer])

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
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
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
