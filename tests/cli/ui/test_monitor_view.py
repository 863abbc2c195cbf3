from __future__ import annotations

import os
import re
import shutil
import sys

import pytest

from lading.cli.ui.monitor_view import print_status, status_lines
from lading.monitor.status import CheckCount, ColumnPoint
from support.model_statuses import HOUR, SINCE, alarm, column, credit_status, small_status


@pytest.mark.slow
def test_the_verdict_stands_above_the_table_with_a_symbol():
    assert status_lines(credit_status())[:4] == [
        "credit:4, release 7, 2026-11-29 06:00 to 2026-11-30 06:00 UTC (24 h)",
        "21,600 of 64,800 rows, 2 replicas, compared with reference data of 12,000 rows",
        "",
        "✗ 7 of 16 columns have drifted since 2026-11-29 15:10 UTC (release 7).",
    ]
    assert "✓ Nothing alarms." in status_lines(credit_status(drifted=False))


def test_what_is_not_known_has_another_symbol_than_what_is_fine():
    assert "? No column has been tested, so it is not known whether any has drifted." in status_lines(
        small_status(column(log_e=None))
    )
    lines = status_lines(credit_status(drifted=False))
    assert "? No live value was counted, so nothing is known, of `branch`." in lines


@pytest.mark.slow
def test_a_row_for_each_column_what_alarms_first(capsys):
    print_status(credit_status())
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("column"))
    assert [line.split("  ")[0] for line in lines[at + 1 : at + 4]] == [
        "purpose",
        "external_score",
        "age",
    ]
    assert re.search(r"^age +drifted +0\.\d+ +[▁-█]{12} +– +29 Nov 15:10 +higher by 0\.4 ", lines[at + 3])
    assert not [line for line in lines if line.startswith("branch")]


def test_parts_of_the_period_without_rows_are_dots(capsys):
    history = tuple(
        ColumnPoint(at=SINCE + hour * HOUR, seconds=HOUR, rows=9, psi=hour / 100, missing_share=0.0)
        for hour in range(12, 24)
    )
    print_status(small_status(column(history=history)))
    assert " ······▅▆▆▇▇█" in capsys.readouterr().out


def test_of_many_columns_twenty_have_a_row_and_the_others_are_counted(capsys):
    print_status(small_status(*(column(f"x{at}") for at in range(500))))
    output = capsys.readouterr()
    assert len(re.findall(r"^x\d", output.out, re.MULTILINE)) == 20
    assert "480 more columns: see `lading monitor report iris`" in output.err


def test_no_column_that_alarms_is_left_out_of_the_table(capsys):
    print_status(small_status(*(column(f"x{at}", is_alarming=at < 30) for at in range(500))))
    assert capsys.readouterr().out.count("drifted ") == 30


@pytest.mark.parametrize("width", [40, 60, 79, 100, 200])
@pytest.mark.parametrize("drifted", [True, False])
def test_no_line_of_a_table_is_wider_than_the_terminal(width, drifted, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((width, 25)))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status = credit_status(drifted=drifted)
    print_status(status)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    prose = set(status_lines(status))
    assert not [line for line in lines if line not in prose and len(line) > width]


def test_the_escapes_of_a_name_do_not_reach_the_terminal(capsys):
    evil = "\x1b[31mred"
    checks = (CheckCount(column=evil, rule=evil, failures=1),)
    print_status(
        small_status(
            column(evil, is_alarming=True, change=evil), checks=checks, alarms=(alarm("drift", evil, evil),)
        )
    )
    assert "\x1b" not in capsys.readouterr().out


def test_metrics_and_checks_have_tables_of_their_own(capsys):
    print_status(credit_status())
    out = capsys.readouterr().out
    assert re.search(
        r"^accuracy +alarms +88\.1 % +87\.4–88\.8 % +91\.4 % +4,660 of 21,600$", out, re.MULTILINE
    )
    assert re.search(r"^missing +external_score +1,912 +3\.0 %$", out, re.MULTILINE)
