"""Cast columns of which some values do not fit: those become null, the rest is kept."""

from __future__ import annotations

import pyarrow as pa


def cast_or_null(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast to `target`, with null where a value does not fit.

    Halves what fails until the culprit stands alone: a clean column costs one cast, k bad values of n
    about k·log2(n) casts.
    """
    try:
        return values.cast(target)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, target)
        middle = len(values) // 2
        halves = (values.slice(0, middle), values.slice(middle))
        return pa.concat_arrays([cast_or_null(half, target) for half in halves])
