"""The mutants of a file: what ``tests.mutants`` changes."""

import ast
import copy
import importlib
import inspect
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SWAPS: dict[type, type] = {ast.Eq: ast.NotEq, ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Is: ast.IsNot, ast.And: ast.Or}
SWAPS |= {other: one for one, other in SWAPS.items()}
DESCRIPTIONS = {"alarm_description", "description", "label", "reason", "title"}
# An operand of a condition of DynamoDB.
OPERAND = r"(?:\{\w+\}|[\w#]+ (?:=|<|<>) :\w+|#\w+ IN \([^)]*\))"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change of one expression: its file and line, the text of the file with the change, and the changed line."""

    path: str
    line: int
    text: str
    changed: str


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Return the mutants of a file, in a fixed order."""
    source, name = path.read_bytes(), str(path.relative_to(ROOT))
    module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
    starts = [0, *(match.end() for match in re.finditer(rb"\n", source))]
    for node, is_test in _expressions(ast.parse(source)):
        line, end_line, end = starts[node.lineno - 1], node.end_lineno or 0, node.end_col_offset or 0
        before, after = source[: line + node.col_offset].decode(), source[starts[end_line - 1] + end :].decode()
        for new in _changes(node, module, is_test=is_test):
            changed = f"{before[len(source[:line].decode()) :]}{new}{after.splitlines()[0]}".strip()
            yield Mutant(path=name, line=node.lineno, text=f"{before}{new}{after}", changed=changed)


def _expressions(node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """Return the expressions to mutate (no type, message or dashboard), and whether each decides what is done."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            match child:
                case (
                    ast.Raise() | ast.Assert() | ast.Expr(value=ast.Constant()) | ast.If(test=ast.Name("TYPE_CHECKING"))
                ) | ast.FunctionDef(name="_add_dashboard"):
                    continue
                case ast.keyword(arg=str(word)) if word in DESCRIPTIONS:
                    continue
                # The id of a construct, and the description of an alarm.
                case ast.Constant() if name == "args" and ast.unparse(value[0]) in {"self", "scope"}:
                    continue
                case ast.Constant() | ast.JoinedStr() if name == "args" and child is value[-1] and _is_alarm(node):
                    continue
                case ast.AST() if name not in {"annotation", "returns", "decorator_list"}:
                    if isinstance(child, ast.expr):
                        yield child, name in {"test", "ifs"}
                    if not isinstance(child, ast.JoinedStr):
                        yield from _expressions(child)


def _is_alarm(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "self._alarm"


def _changes(node: ast.expr, module: object, *, is_test: bool) -> Iterator[str]:
    """Return the changed texts of an expression."""
    if is_test and not isinstance(node, ast.Compare):
        yield f"(not ({ast.unparse(node)}))"
    match node:
        case ast.Compare(ops=ops):
            yield from (_with(node, "ops", i, SWAPS[type(op)]()) for i, op in enumerate(ops) if type(op) in SWAPS)
        case ast.BoolOp(op=op, values=values):
            yield f"({ast.unparse(ast.BoolOp(op=SWAPS[type(op)](), values=values))})"
            yield from (_with(node, "values", index) for index in range(len(values)))
        case ast.Call(keywords=keywords):
            dropped = (index for index, one in enumerate(keywords) if one.arg and _has_default(node, one.arg, module))
            yield from (_with(node, "keywords", index) for index in dropped)
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            yield repr(value + 1)
        case ast.JoinedStr() | ast.Constant(value=str()):
            text = ast.unparse(node)
            yield f"{text[:-1]}_{text[-1]}"
            for operand in (rf"{OPERAND} (?:AND|OR) ", rf" (?:AND|OR) {OPERAND}"):
                for match in re.finditer(operand, text):
                    yield text[: match.start()] + text[match.end() :]


def _with(node: ast.expr, field: str, index: int, *new: object) -> str:
    changed, values = copy.copy(node), getattr(node, field)
    setattr(changed, field, [*values[:index], *new, *values[index + 1 :]])
    return f"({ast.unparse(changed)})"


def _has_default(call: ast.Call, argument: str, module: object) -> bool:
    """Return whether the argument may be left out. It may if the called function is not known."""
    try:
        called = operator.attrgetter(ast.unparse(call.func))(module)
        parameter = inspect.signature(called.__init__ if inspect.isclass(called) else called).parameters[argument]
    except (AttributeError, KeyError, TypeError, ValueError):
        return True
    return parameter.default is not inspect.Parameter.empty
