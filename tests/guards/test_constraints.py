"""The versions that `make` installs: one for each direct dependency, within its bounds."""

import re

from .constraints import FILE, list_requirements


def test_each_direct_dependency_has_a_tested_version_within_its_bounds():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", FILE.read_text(), re.MULTILINE))
    requirements = list_requirements()
    assert {each.name.lower() for each in requirements} == pinned.keys()
    versions = {str(each): pinned[each.name.lower()] for each in requirements}
    outside = {str(each) for each in requirements if versions[str(each)] not in each.specifier}
    assert outside == set()


def test_dependencies_have_lower_bounds_and_no_upper_ones():
    bounds = {str(each): [specifier.operator for specifier in each.specifier] for each in list_requirements()}
    assert {name: found for name, found in bounds.items() if ">=" not in found or {"<", "<=", "=="} & {*found}} == {}
