# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages in a single file: templates, and figures that are part of the page."""

import base64
from collections.abc import Mapping, Sequence
import functools
import json
import math
import os
from typing import Any

import jinja2
from matplotlib import figure as mpl_figure
import numpy as np

from tff_partial.reporting import formatting
from tff_partial.reporting import plots


def environment(percent: bool) -> jinja2.Environment:
  """The environment of the templates, with filters for numbers and names.

  Args:
    percent: Whether the filters show the metric in percent.
  """
  result = jinja2.Environment(
      loader=jinja2.FileSystemLoader(
          os.path.join(os.path.dirname(__file__), 'templates')
      ),
      autoescape=True,
      undefined=jinja2.StrictUndefined,
      trim_blocks=True,
      lstrip_blocks=True,
  )
  result.filters.update(
      value=functools.partial(formatting.value, percent=percent),
      change=functools.partial(formatting.change, percent=percent),
      interval=functools.partial(formatting.interval, percent=percent),
      ends=functools.partial(formatting.ends, percent=percent),
      plus_minus=functools.partial(formatting.plus_minus, percent=percent),
      signed=formatting.signed,
      share=formatting.share,
      fraction='{:.2%}'.format,
      number_is=formatting.number_is,
      p_relation=formatting.p_relation,
      p_value=formatting.p_value,
      epsilon=formatting.epsilon,
      delta=formatting.delta,
      size=formatting.size,
      duration=formatting.duration,
      model=formatting.model,
      words=formatting.words,
      count='{:,}'.format,
      counted=lambda n: 'not counted' if n is None else f'{n:,.0f}',
      other=formatting.other_metric,
      quantity=formatting.quantity,
      setting=formatting.setting,
  )
  return result


def data_uri(figure: mpl_figure.Figure) -> str:
  """A figure as the source of an `img` element."""
  encoded = base64.b64encode(plots.to_svg(figure)).decode('ascii')
  return f'data:image/svg+xml;base64,{encoded}'


def plain(value: Any) -> Any:
  """Converts a value to types of strict JSON; NaN and infinity become null."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, Sequence) and not isinstance(value, str):
    return [plain(item) for item in value]
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  return str(value)


def to_json(contents: object) -> str:
  """The content of a JSON file, for what `plain` returns."""
  return json.dumps(contents, indent=2, allow_nan=False) + '\n'
