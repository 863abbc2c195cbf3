"""A model as a function of columns of a Spark frame, for notebooks: `lading.batch.spark_udf`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
from pyspark.sql import functions, types

from lading.batch.on_spark.column_model import REASON, ColumnModel, OnMisfit, no_answers
from lading.batch.on_spark.shipping import ship
from lading.batch.scoring import output_names
from lading.bundle import Bundle
from lading.bundle.manifest import MANIFEST_FILE
from lading.errors import InputUnknown, NotSupported, OutputUnknown, UsageError
from lading.ref import Ref
from lading.registry import Registry
from lading.runtime.python.host import Allow, this_host
from lading.signature import Signature


def spark_udf(
    session: Any,
    model: Bundle | Path | str,
    *,
    output: str | None = None,
    on_misfit: OnMisfit = "null",
    registry: str | None = None,
    allow: Allow | None = None,
) -> Score:
    """Return a function that scores columns of frames of `session` with `model`.

    `model` is a bundle, the path of one, or a reference such as ``iris:3`` in `registry`, which is fetched
    here and sent to the executors once. Each Python worker replays its golden samples before its first row.

    The function makes a column: a struct with a field for each column that a batch run writes (numbers and
    texts; arrays for outputs with further axes, ``[rows, n]`` as ``array<…>``; float16 as float, unsigned
    integers as the next larger type, uint64 as ``decimal(20,0)``), or with `output` that one alone.

    A row that does not fit, which a batch run would set aside, has nulls in all of them and says why in the
    further field ``reason``, null in all others; with ``on_misfit="error"`` there is no such field, and the
    first such row fails the query.

    Rows run in chunks of as many as in a batch run, counted among those of a partition that fit. So the
    answers are those of a batch run bit for bit where a partition holds the rows of a part in their order;
    with other partitions another number of rows may run together, on which the last bits of some models
    depend.

    Raises `NotSupported` for a model whose rows depend on each other, `OutputUnknown`, what opening the
    bundle raises, and `UsageError` for an output that has the name ``reason``. What fails on an executor,
    such as a column that is missing (`InputMissing`) or golden samples that do not hold (`GoldenMismatch`),
    is a ``PythonException`` of Spark whose text ends with lading's sentence.
    """
    opened = _opened(model, registry)
    signature = opened.manifest.signature
    _check(signature, opened.manifest.name, output, on_misfit)
    column = ColumnModel(ship(session, opened), output, on_misfit, this_host(allow))

    def score(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return column.answers(arrays)

    kind = _spark_type(signature, output, on_misfit)
    # A partition as one iterator: batches of Arrow do not decide which rows run together.
    udf = functions.arrow_udf(score, kind)
    return Score(udf, _input_names(signature))


class Score:
    """Scores columns: `frame.withColumn("scored", score())`. Made by `spark_udf`."""

    def __init__(self, udf: Any, inputs: tuple[str, ...]) -> None:
        self._udf = udf
        self.inputs = inputs
        """The columns that the model needs, by their names."""

    def __call__(self, *columns: Any, **renamed: Any) -> Any:
        """Return the column of the answers.

        Without arguments for the columns of the frame that have the names of the model's inputs; else for
        `columns`, by name or as Spark's columns, or one struct that has them as fields. `renamed` are columns
        that have another name in the frame: ``score("a", b="the_b")``. Raises `InputUnknown`.
        """
        for name in renamed:
            if name not in self.inputs:
                known = ", ".join(f"`{each}`" for each in self.inputs)
                raise InputUnknown("columns to score", expected=known, found=f"`{name}`")
        stated = [self._column(column) for column in columns]
        stated += [self._column(column).alias(name) for name, column in renamed.items()]
        if not columns:
            stated += [self._column(name) for name in self.inputs if name not in renamed]
        # A struct, since Spark passes the names of its fields on, and not those of arguments.
        return self._udf(functions.struct(*stated))

    @staticmethod
    def _column(column: Any) -> Any:
        # Quoted: in Spark's own grammar a dot in a name would mean a field of a struct.
        return functions.col("`{}`".format(column.replace("`", "``"))) if isinstance(column, str) else column


def _opened(model: Bundle | Path | str, registry: str | None) -> Bundle:
    if isinstance(model, Bundle):
        return model
    # As on the command line: a name is a path if it looks like one, or is that of a bundle here.
    if isinstance(model, Path) or "/" in model or (Path(model) / MANIFEST_FILE).is_file():
        return Bundle.open(model)
    with Registry.open(registry) as opened:
        version = opened.resolve(Ref.parse(model))
        opened.admission.check("batch", version)
        return opened.fetch(version)


def _check(signature: Signature, name: str, output: str | None, on_misfit: str) -> None:
    if not signature.batched:
        raise NotSupported(f"`{name}`", expected="a model whose rows are independent", found="another")
    if on_misfit not in get_args(OnMisfit):
        raise UsageError("`on_misfit`", expected='`"null"` or `"error"`', found=f"`{on_misfit}`")
    names = output_names(signature)
    if output is not None and output not in names:
        known = ", ".join(f"`{each}`" for each in names)
        raise OutputUnknown("`output`", expected=known, found=f"`{output}`")
    if output is None and on_misfit == "null" and REASON in names:
        hint = 'pass `on_misfit="error"`, or one `output`'
        raise UsageError(f"`{name}`", expected="no output with the name `reason`", found="one", hint=hint)


def _input_names(signature: Signature) -> tuple[str, ...]:
    return tuple(
        name
        for tensor in signature.inputs
        for name in (tensor.columns if tensor.columns and len(tensor.shape) == 2 else (tensor.name,))
    )


def _spark_type(signature: Signature, output: str | None, on_misfit: str) -> Any:
    """Return the type of the answers, from the columns that a batch run writes for no rows."""
    fields = {name: _of_arrow(array.type) for name, array in no_answers(signature).items()}
    if output is not None:
        return fields[output]
    if on_misfit == "null":
        fields[REASON] = types.StringType()
    return types.StructType([types.StructField(name, kind) for name, kind in fields.items()])


_SPARK = {
    pa.bool_(): types.BooleanType(),
    pa.int8(): types.ByteType(),
    pa.int16(): types.ShortType(),
    pa.int32(): types.IntegerType(),
    pa.int64(): types.LongType(),
    # Spark has no unsigned integers.
    pa.uint8(): types.ShortType(),
    pa.uint16(): types.IntegerType(),
    pa.uint32(): types.LongType(),
    pa.uint64(): types.DecimalType(20, 0),
    pa.float32(): types.FloatType(),
    pa.float64(): types.DoubleType(),
    pa.string(): types.StringType(),
}


def _of_arrow(kind: pa.DataType) -> Any:
    if pa.types.is_fixed_size_list(kind):
        return types.ArrayType(_of_arrow(kind.value_type))
    return _SPARK[kind]
