"""What is broken in :mod:`backchannel.exec_binding`."""

from __future__ import annotations

import re

from backchannel import exec_binding

from . import rewrite, wrong


@wrong("BC-EXEC-13", role="worker", kills=["test_worker_refuses_senseless_variables"])
def senseless_variables_accepted() -> None:
    rewrite(
        exec_binding.read_variables,
        "        if not form.fullmatch(value):\n",
        (
            "        if name == 'SLOT' and not form.fullmatch(value):\n"
            "            return '0'\n"
            "        if not form.fullmatch(value):\n"
        ),
    )


@wrong("BC-EXEC-09", role="parent", kills=["test_variables_of_a_program"])
def deadline_with_an_exponent() -> None:
    rewrite(
        exec_binding.variables, 'f"{start.drain_deadline:.6f}".rstrip("0").rstrip(".")', 'f"{start.drain_deadline:e}"'
    )


@wrong("BC-EXEC-13", role="worker", kills=["test_worker_refuses_senseless_variables"])
def number_with_a_sign_is_taken() -> None:
    exec_binding._DECIMAL = re.compile(r"[+]?[0-9]{1,10}")  # type: ignore[misc]


@wrong("BC-EXEC-10", role="parent", kills=["test_variables_of_a_program"])
def versions_not_told() -> None:
    rewrite(exec_binding.variables, '        f"{PREFIX}VERSIONS": start.versions,\n', "")


@wrong("BC-EXEC-13", role="worker", kills=["test_worker_refuses_senseless_versions"])
def senseless_versions_accepted() -> None:
    rewrite(
        exec_binding.read_variables,
        '    versions = find("VERSIONS", _VERSIONS, "1.0 or 1.0-1.3")\n',
        "    versions = '1.0'\n",
    )


@wrong("BC-EXEC-06", role="worker", kills=["test_worker_of_a_later_parent", "test_worker_of_a_parent_of_another_age"])
def judges_versions_itself() -> None:
    rewrite(exec_binding.read_variables, "    if not all(ends) or ends != sorted(ends):\n", "    if ends != [16]:\n")


@wrong("BC-FORK-08", role="parent", kills=["test_variables_of_a_program"])
def told_of_one_place_more() -> None:
    rewrite(exec_binding.variables, "str(start.capacity)", "str(start.capacity + 1)")
