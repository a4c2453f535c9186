"""How tables look in a notebook."""

from __future__ import annotations

from ec_jupyter.notebook.tables import Report


def test_a_report_without_rows_is_its_one_line() -> None:
    report = Report({"failed": 0}, [], ["socket", "failed"], "nothing is queued; 0 failed < 1")
    assert repr(report) == "nothing is queued; 0 failed < 1"
    assert report._repr_html_() == "nothing is queued; 0 failed &lt; 1"
