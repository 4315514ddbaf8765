"""Tables as CSV files."""

import csv

from instantstyle.utils.csv_table import write_csv


def test_a_table_is_read_back_and_replaces_an_existing_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    write_csv(path, [["name", "value"], ['a, "b"\n×', 0.5]])
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "value"], ['a, "b"\n×', "0.5"]]
    assert path.read_bytes().startswith(b"name,value\n")
