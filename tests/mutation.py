"""Generated source and derived programs, changed mechanically: one place at a time, in every place there is."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations

from indexprop import Gradient, ir, printing, validation
from indexprop.errors import NotationError


@dataclass(frozen=True)
class Mutant:
    """A module that differs from another in one place."""

    kind: str
    before: str
    after: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind}, line {self.line}: {self.before}  ->  {self.after}"

    def function(self, name: str = "gradient") -> Callable[..., object]:
        namespace: dict[str, object] = {}
        exec(compile(self.text, "<mutant>", "exec"), namespace)
        return namespace[name]


def is_call(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) == name


def is_method(node: ast.AST, name: str) -> bool:
    """`array.name(...)`, and not `np.name(...)`."""
    return (
        is_call(node, name)
        and isinstance(node.func, ast.Attribute)
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "np")
    )


def called(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(ast.Name("np", ast.Load()), name, ast.Load()), list(arguments), [])


# Every rule takes a node and gives what may stand in its place.


def no_transpose(node):
    """`.T` removed."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value


def no_sum(node):
    """A sum over axes removed, or taken over everything."""
    if is_method(node, "sum"):
        yield node.func.value
        if node.keywords:
            yield ast.Call(node.func, [], [])
    if is_call(node, "einsum") and len(node.args) == 2:
        yield node.args[1]


def other_axis(node):
    """`axis=0` for `axis=1`, and the other way round."""
    if is_method(node, "sum"):
        for word in node.keywords:
            if word.arg == "axis" and isinstance(word.value, ast.Constant):
                changed = copy.deepcopy(node)
                for one in changed.keywords:
                    if one.arg == "axis":
                        one.value = ast.Constant(1 - word.value.value)
                yield changed


def no_factor(node):
    """A factor or a divisor removed; in an einsum, replaced by ones."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield node.left
        yield node.right
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Pow)):
        yield node.left
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield ast.BinOp(node.left, node.op, called("ones_like", node.right))
        yield ast.BinOp(called("ones_like", node.left), node.op, node.right)
    elif is_call(node, "einsum") and len(node.args) > 2:
        for k in range(1, len(node.args)):
            changed = copy.deepcopy(node)
            changed.args[k] = called("ones_like", changed.args[k])
            yield changed


def swapped(node):
    """The operands of a matrix product exchanged, or the output of an einsum transposed."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)
    if is_call(node, "einsum") and isinstance(node.args[0], ast.Constant):
        inputs, output = node.args[0].value.split("->")
        if len(output) == 2:
            changed = copy.deepcopy(node)
            changed.args[0] = ast.Constant(f"{inputs}->{output[::-1]}")
            yield changed


def other_sign(node):
    """`+` for `-`, and the other way round."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        yield ast.BinOp(node.left, ast.Add(), node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield ast.BinOp(node.left, ast.Sub(), node.right)


def slightly_wrong(node):
    """A contraction, a product or a quotient that is off by a millionth."""
    if is_call(node, "einsum") or (
        isinstance(node, ast.BinOp) and isinstance(node.op, (ast.MatMult, ast.Mult, ast.Div))
    ):
        yield ast.BinOp(ast.Constant(1.000001), ast.Mult(), node)


def no_term(node):
    """A term removed."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield node.left
        yield node.right


RULES = (no_transpose, no_sum, no_factor, other_axis, swapped, other_sign, slightly_wrong, no_term)


def mutants(source: str, rules=RULES, *, function: str = "gradient", derived_only: bool = False) -> Iterator[Mutant]:
    """Every way to apply one rule in one place of one function; `derived_only` leaves its forward lines alone.

    Derived lines are those that write a name that begins with `d`.
    """
    tree = ast.parse(source)
    (body,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    for statement in body.body:
        if not isinstance(statement, ast.Assign):
            continue
        target = statement.targets[0]
        if derived_only and not (isinstance(target, ast.Name) and target.id.startswith("d")):
            continue
        for node in list(ast.walk(statement.value)):
            for rule in rules:
                for instead in rule(node):
                    text = ast.unparse(_with(tree, node, instead))
                    yield Mutant(rule.__doc__, ast.unparse(node), ast.unparse(instead), node.lineno, text)


def _with(tree: ast.Module, old: ast.AST, new: ast.AST) -> ast.Module:
    """A copy of the tree with one node exchanged."""
    number = next(k for k, node in enumerate(ast.walk(tree)) if node is old)
    copied = copy.deepcopy(tree)
    wanted = next(node for k, node in enumerate(ast.walk(copied)) if k == number)

    class Exchange(ast.NodeTransformer):
        def visit(self, node):
            return copy.deepcopy(new) if node is wanted else self.generic_visit(node)

    return ast.fix_missing_locations(Exchange().visit(copied))


# --- derived programs, changed mechanically -------------------------------------------------------

MILLIONTH = Fraction(1_000_001, 1_000_000)


def variants(expr: ir.Expr) -> Iterator[tuple[str, ir.Expr]]:
    """Every expression that differs from this one in one place."""
    match expr:
        case ir.Number(value):
            yield "a number off by a millionth", ir.Number(value * MILLIONTH)
        case ir.Access(tensor, slots):
            for one, other in combinations(range(len(slots)), 2):
                if slots[one] != slots[other]:
                    turned = list(slots)
                    turned[one], turned[other] = slots[other], slots[one]
                    yield "slots swapped", ir.Access(tensor, tuple(turned))
        case ir.Product(factors):
            for k in range(len(factors)):
                yield "a factor dropped", ir.multiply(*factors[:k], *factors[k + 1 :])
        case ir.Sum(terms):
            for k in range(len(terms)):
                yield "a term dropped", ir.add(*terms[:k], *terms[k + 1 :])
    children = ir.children(expr)
    for k, child in enumerate(children):
        for kind, changed in variants(child):
            instead = iter((*children[:k], changed, *children[k + 1 :]))
            yield kind, ir.rebuild(expr, lambda _, instead=instead: next(instead))


def changed_terms(terms: tuple[ir.Term, ...]) -> Iterator[tuple[str, tuple[ir.Term, ...]]]:
    for k, one in enumerate(terms):
        before, after = terms[:k], terms[k + 1 :]
        if len(terms) > 1:
            yield "a term dropped", (*before, *after)
        for kind, number in (("off by a millionth", MILLIONTH), ("doubled", Fraction(2)), ("negated", Fraction(-1))):
            factor = ir.Factor(one.factor.number * number, one.factor.sizes)
            yield kind, (*before, ir.Term(factor, one.bound, one.body), *after)
        for position in range(len(one.factor.sizes)):
            sizes = one.factor.sizes[:position] + one.factor.sizes[position + 1 :]
            yield "a size dropped", (*before, ir.Term(ir.Factor(one.factor.number, sizes), one.bound, one.body), *after)
        for kind, body in variants(one.body):
            bound = [index for index in one.bound if index in ir.free_indices(body)]
            yield kind, (*before, ir.term(bound, body, one.factor), *after)


def gradient_mutants(gradient: Gradient) -> Iterator[tuple[str, Gradient]]:
    """Every gradient whose derived program differs in one place, and is still a program."""
    program = gradient.program
    derived = set(map(id, gradient.backward))
    for k, step in enumerate(program.steps):
        if id(step) not in derived:
            continue
        changed = [(kind, replace(step, terms=terms)) for kind, terms in changed_terms(step.terms)]
        if step.operation == "+=":
            changed.append(("not accumulated", replace(step, operation="=")))
        for kind, instead in changed:
            steps = (*program.steps[:k], instead, *program.steps[k + 1 :])
            if instead.operation == "=" != step.operation:  # what was written before is overwritten
                steps = tuple(one for one in steps[:k] if one.name != step.name) + steps[k:]
            try:
                whole = validation.assemble(steps, inputs=program.inputs, outputs=program.outputs, batch=program.batch)
            except NotationError:
                continue
            yield f"{kind}: {printing.format_step(instead)}", replace(gradient, program=whole)
