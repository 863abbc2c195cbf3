"""Errors of lading come back from Spark as what they were; others as the reason that Python gave."""

from __future__ import annotations

from lading.batch.on_spark.refusals import MachineRefusal, Refusal, error_of_job
from lading.errors import GateNotMet, GoldenMismatch, NotSupported, RunFailed

# As Spark words it: its own story, that of Python, and that of Java.
FAILED = """Job aborted due to stage failure: Task 0 in stage 3.0 failed 4 times, most recent: Lost task 0.3
Traceback (most recent call last):
  File "worker.py", line 60, in score
    raise MachineRefusal(error) from error
{reason}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:572)
Caused by: java.io.IOException: something of Java
"""


def test_an_error_is_the_same_after_its_way_through_two_languages():
    error = GateNotMet("rows set aside", expected="at most 1 %", found="`한글`, and \n a line", hint="look")
    for back in (
        Refusal.of(error).error(),
        error_of_job(RuntimeError(FAILED.format(reason=f"MachineRefusal: {MachineRefusal(error)}"))),
    ):
        assert type(back) is GateNotMet
        assert (str(back), vars(back)) == (str(error), vars(error))


def test_of_several_machines_the_first_reason_is_given():
    first, second = (GoldenMismatch(f"golden samples of `{name}`", found="others") for name in "ab")
    text = FAILED.format(reason=MachineRefusal(first)) + FAILED.format(reason=MachineRefusal(second))
    assert str(error_of_job(RuntimeError(text))) == str(first)


def test_what_is_no_error_of_lading_is_the_last_line_of_its_traceback():
    back = error_of_job(RuntimeError(FAILED.format(reason="OSError: [Errno 28] No space left on device")))
    assert isinstance(back, RunFailed)
    assert back.found == "OSError: [Errno 28] No space left on device"
    missing = error_of_job(
        RuntimeError(FAILED.format(reason="ModuleNotFoundError: No module named 'lading'"))
    )
    assert isinstance(missing, NotSupported)
    assert "PYSPARK_PYTHON" in (missing.hint or "")
    lost = error_of_job(RuntimeError("Task 3 failed 4 times: ExecutorLostFailure (executor 5 exited)"))
    assert lost.found == "Task 3 failed 4 times: ExecutorLostFailure (executor 5 exited)"
