"""Mutants of the method's modules: one small change each, made by operators of Cosmic Ray."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src/instantstyle")
MODULES = [PACKAGE / "core", PACKAGE / "recipe.py", PACKAGE / "recipe_types.py"]
"""Relative to the repository: the method, and what determines an image."""

OPERATORS = (
    *("AddNot", "ExceptionReplacer", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ZeroIterationForLoop"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ReplaceFalseWithTrue", "ReplaceTrueWithFalse"),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceUnaryOperator_{pair}" for pair in ("Delete_Not", "USub_UAdd")),
)
"""Operators without those whose changes raise at once, such as a shift of tensors in place of a sum."""

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A change to a module.

    Attributes:
        module: Path relative to the repository.
        operator: Name of the operator.
        occurrence: Which of the operator's changes to the module this is.
        line: Line of the change, from 1.
    """

    module: Path
    operator: str
    occurrence: int
    line: int

    def change(self, source: str) -> str:
        """Return the module's source with the change."""
        changed = mutate_code(source, make_operator(self.operator), self.occurrence)
        assert changed, self
        return changed

    def diff(self, source: str) -> list[str]:
        """Return the lines that the change removes and adds."""
        lines = unified_diff(source.splitlines(), self.change(source).splitlines(), n=0, lineterm="")
        return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]


def make_operator(name: str):
    """Return an operator of Cosmic Ray."""
    return get_operator(f"core/{name}")()


def list_mutants() -> list[Mutant]:
    """List all mutants, those of annotations and decorators left out."""
    files = [file for part in MODULES for file in sorted((ROOT / part).rglob("*.py")) or [ROOT / part]]
    return [mutant for file in files for mutant in _list_mutants_of(file)]


def _list_mutants_of(file: Path) -> Iterator[Mutant]:
    source = file.read_text()
    lines = source.splitlines()
    nodes, skipped = [*ast_nodes(get_ast(source))], list_skipped(source)
    for name in OPERATORS:
        operator = make_operator(name)
        positions = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            rest = lines[start[0] - 1][start[1] :]
            # A negated assignment expression is not Python, and `*` and `/` in a signature are none.
            is_valid = not (name == "AddNot" and ":=" in lines[start[0] - 1]) and rest[:2] not in (
                "*,",
                "*)",
                "/,",
                "/)",
            )
            if is_valid and not any(first <= start < last for first, last in skipped):
                yield Mutant(file.relative_to(ROOT), name, occurrence, start[0])


def list_skipped(source: str) -> list[tuple[Position, Position]]:
    """List where code begins and ends whose changes are not seen when it runs.

    These are annotations, blocks for type checkers, and decorators such as `dataclass(frozen=True)`.
    """
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(ast.parse(source)):
        found += [
            part for name in ("annotation", "returns") if isinstance(part := getattr(node, name, None), ast.expr)
        ]
        found += getattr(node, "decorator_list", [])
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.append(node)
    return [((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)) for part in found]
