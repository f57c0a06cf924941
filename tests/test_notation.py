"""The notation: text in, text out, each the inverse of the other; every error in its own words."""

# ruff: noqa: E501  (messages stand here as they are printed)

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexprop as ip
from indexprop import ir, notation, testing, validation
from indexprop.errors import NameProblem, NotationError
from indexprop.functions import TABLE, named
from indexprop.ir import Access, Factor, Step

# --- inverse --------------------------------------------------------------------------------------------------------


@given(testing.programs())
def test_parsing_the_text_gives_the_program(program):
    assert ip.parse(str(program)) == program


@given(testing.programs())
def test_printing_what_was_parsed_gives_the_text(program):
    text = str(program)
    assert str(ip.parse(text)) == text


@given(testing.programs(max_steps=2), st.data())
def test_declarations_survive(program, data):
    """A batch index, another order of the inputs, other outputs: what is not inferred is printed."""
    index = data.draw(st.sampled_from([None, *program.indices]))
    inputs = data.draw(st.permutations(program.inputs))
    outputs = data.draw(st.lists(st.sampled_from(program.names), min_size=1, unique=True))
    made = validation.assemble(program.steps, inputs=inputs, outputs=outputs, batch=index)
    assert ip.parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("y[i] = 2 * x[i]", "y[i] = 2 x[i]"),
        ("y[i] = x[i] 2", "y[i] = 2 x[i]"),
        ("y[i] = x[i]/2", "y[i] = x[i] / 2"),
        ("y[i] = 0.5 x[i]", "y[i] = x[i] / 2"),
        ("y[i] = 1e-2 x[i]", "y[i] = 0.01 x[i]"),
        ("y[i] = -x[i]^2", "y[i] = -(x[i]^2)"),
        ("y[i] = x[i]^2^3", "y[i] = x[i]^(2^3)"),
        ("y[i] = 2 -x[i]", "y[i] = 2 - x[i]"),
        ("y[i] = x[i] / z[i]", "y[i] = x[i] z[i]^-1"),
        ("y = sum[i](x[i])", "y = x[i]"),
        ("y = mean[i](x[i])", "y = x[i] / |i|"),
        ("y = x[]", "y = x"),
        ("y = s (a+b)", "y = s * (a + b)"),
        ("y[i] = x[i] + x[i]", "y[i] = 2 x[i]"),
        ("y[i] = leaky_relu(x[i])", "y[i] = leaky_relu(x[i], 0.01)"),
        ("y[i] = exp(x[i]\n  + z[i])  # joined", "y[i] = exp(x[i] + z[i])"),
        ("y[i] = x[i]  # a comment", "y[i] = x[i]"),
        ("y[i] = sum[j](A[i,j] x[j])", "y[i] = A[i,j] x[j]"),
        ("input x[i]\ny[i] = x[i]", "y[i] = x[i]"),
    ],
)
def test_two_spellings_of_one_program(text, same):
    assert ip.parse(text) == ip.parse(same)


def test_unary_minus_binds_less_than_a_power():
    (step,) = ip.parse("y = -x^2").steps
    assert step.terms == (ir.term((), ir.power(Access("x"), ir.number(2)), Factor(Fraction(-1))),)


def test_comments_stay_and_do_not_count():
    program = ip.parse("y[i] = 2 x[i]   # twice")
    assert str(program) == "y[i] = 2 x[i]  # twice"
    assert program == ip.parse("y[i] = 2 x[i]")


def test_signs_are_aligned():
    text = "Z1[h,b] = W1[h,i] X[i,b] + b1[h]\nL       = sum[h,b]((Z1[h,b] - T[h,b])^2) / (2 |b|)"
    assert str(ip.parse(text)) == text


def test_a_file(tmp_path):
    path = tmp_path / "net.ixp"
    path.write_text("# a net\ny[i] = 2 x[i]\n", encoding="utf-8")
    assert ip.parse(path) == ip.parse("y[i] = 2 x[i]")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotationError, match=r"cannot read .*No such file"):
        ip.parse(tmp_path / "none.ixp")


def test_neither_text_nor_path():
    with pytest.raises(NotationError) as caught:
        ip.parse(3)
    assert str(caught.value) == (
        'parse takes text or a pathlib.Path, not int\n    For example ip.parse("Y[o,b] = W[o,i] X[i,b]").'
    )


def test_deep_parentheses_are_refused_without_recursion_error():
    with pytest.raises(NotationError, match="more than 60 parentheses, brackets or exponents inside each other"):
        ip.parse("y = " + "(" * 5000 + "x" + ")" * 5000)


def test_long_sums_are_no_depth():
    program = ip.parse("y = " + " + ".join(f"x{k}" for k in range(5000)))
    assert ip.parse(str(program)) == program


# --- names ----------------------------------------------------------------------------------------------------------


@given(testing.names(), testing.index_names())
def test_drawn_names_are_names(tensor, index):
    assert validation.check_name(tensor) == tensor
    assert validation.check_name(index, index=True) == index
    program = ip.parse(f"out.{tensor}[{index}] = 2 {tensor}[{index}]")
    assert ip.parse(str(program)) == program


@pytest.mark.parametrize(
    "name",
    ["1x", "", "a b", "x-y", "é", "a..b", ".a", "a.", "x\n", "__import__", "import", "np", "exp", "sum", "input"],
)
def test_what_cannot_name_a_tensor(name):
    with pytest.raises(NameProblem) as caught:
        validation.check_name(name)
    way_out = "Choose another name, such as 'W1' or 'encoder.2.Wq'."
    if name in ("np", "exp", "sum", "input"):
        way_out = f"Choose another name, such as '{name}1' or 'x.{name}'."
        assert validation.check_name(f"{name}1")
        assert validation.check_name(f"x.{name}")
    assert str(caught.value) == f"{validation.name_problem(name)}\n    {way_out}"


@pytest.mark.parametrize("name", ["x; import os", "x]\nimport os#", "__class__", "a.b", "for"])
def test_what_cannot_name_an_index(name):
    """Nothing that is not a plain name may reach generated code, from Python either."""
    assert validation.name_problem(name, index=True)
    step = Step(Access("y", (name,)), (ir.term((), Access("x", (name,))),))
    with pytest.raises(NotationError):
        validation.assemble([step])


# --- einsum strings -------------------------------------------------------------------------------------------------


@given(testing.einsum_specs())
def test_einsum_strings_mean_what_they_were_made_from(example):
    assert notation.parse_einsum(example.text, example.ranks) == example.spec


@pytest.mark.parametrize(
    ("text", "ranks", "operands", "result"),
    [
        ("ij,jk->ik", (2, 2), ("ij", "jk"), "ik"),
        ("ij, jk -> ik", (2, 2), ("ij", "jk"), "ik"),
        ("ij,jk", (2, 2), ("ij", "jk"), "ik"),
        ("ii", (2,), ("ii",), ""),
        ("ii->i", (2,), ("ii",), "i"),
        ("h->hb", (1,), ("h",), "hb"),
        (",->", (0, 0), ("", ""), ""),
        ("i...i->...", (3,), (("i", "e1", "i"),), ("e1",)),
        ("...ij->...ji", (4,), (("e1", "e2", "i", "j"),), ("e1", "e2", "j", "i")),
        ("...i,...i->...", (1, 3), (("i",), ("e1", "e2", "i")), ("e1", "e2")),
        ("e1 ... -> ... e1", (2,), (("e1", "e12"),), ("e12", "e1")),
        ("out in, in -> out", (2, 1), None, None),
        ("batch,batch->", (1, 1), (("batch",), ("batch",)), ()),
        ("row col -> col row", (2,), (("row", "col"),), ("col", "row")),
    ],
)
def test_einsum_strings(text, ranks, operands, result):
    if operands is None:  # `in` is a word of Python, and names reach generated code
        with pytest.raises(NotationError, match="'in' is a word of Python"):
            notation.parse_einsum(text, ranks)
        return
    spec = notation.parse_einsum(text, ranks)
    assert spec == notation.EinsumSpec(tuple(map(tuple, operands)), tuple(result))


@pytest.mark.parametrize(
    ("text", "ranks", "message"),
    [
        (
            "ij,jk->ik",
            (2,),
            "the string describes 2 operands and 1 are given\n\n    ij,jk->ik\n    ^^^^^\n\n"
            "    Write one group of indices per operand, separated by commas.",
        ),
        (
            "ij,jk->ik",
            (3, 1),
            "operand 1 has 3 axes and 'ij' names 2\n\n    ij,jk->ik\n    ^^\n\n"
            "    Write one index per axis, or '...' for the rest.\n\n"
            "operand 2 has 1 axis and 'jk' names 2\n\n    ij,jk->ik\n       ^^\n\n"
            "    Write one index per axis, or '...' for the rest.",
        ),
        ("ij->i->j", (2,), "more than one '->' in an einsum string\n\n    ij->i->j\n         ^^"),
        ("i...j...->i", (3,), "'...' stands twice in one group\n\n    i...j...->i\n    ^^^^^^^^"),
        ("i1->i", (2,), "'1' is not a plain name: ASCII letters, digits and _\n\n    i1->i\n     ^"),
        ("lambda x -> x", (2,), "'lambda' is a word of Python\n\n    lambda x -> x\n    ^^^^^^"),
        (
            3,
            (1,),
            "an einsum string is text, not int\n"
            '    For example ip.einsum("ob,hb->oh", dY, H): the string first, then one tensor per group.',
        ),
    ],
)
def test_einsum_errors(text, ranks, message):
    with pytest.raises(NotationError) as caught:
        notation.parse_einsum(text, ranks)
    assert str(caught.value) == message


# --- errors ---------------------------------------------------------------------------------------------------------

ERRORS = """
=== unknown function
Y[i] = sigmod(X[i])
---
there is no function 'sigmod'

    Y[i] = sigmod(X[i])
           ^^^^^^

    Did you mean 'sigmoid'? There are: <functions>.
    If 'sigmod' is a tensor, put a space before the parenthesis.

=== unknown function, far from all
Y[i] = qqqq(X[i])
---
there is no function 'qqqq'

    Y[i] = qqqq(X[i])
           ^^^^

    There are: <functions>.
    If 'qqqq' is a tensor, put a space before the parenthesis.

=== nobody sums it (typo)
Z[o,b] = W[o,j] X[i,b]
---
indices 'j' and 'i' occur in one factor only, and not on the left

    Z[o,b] = W[o,j] X[i,b]
                 ^    ^

    The left side has o,b.
    If the sum is meant, write sum[j,i](W[o,j] X[i,b]); otherwise correct the name.

=== lonely
y[i] = A[i] x[j]
---
index 'j' occurs in one factor only, and not on the left

    y[i] = A[i] x[j]
                  ^

    The left side has i.
    If the sum is meant, write sum[j](A[i] x[j]); otherwise correct the name.

=== hidden in a parenthesis
y[i] = 2 (A[i,j] x[j] + c[i])
---
it is not clear what is summed over 'j'

    y[i] = 2 (A[i,j] x[j] + c[i])
                  ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'j' is not on the left.
    Write sum[j](2 (A[i,j] x[j] + c[i])) or 2 (sum[j](A[i,j] x[j]) + c[i]).

=== hidden in a denominator
y[i] = x[i] / (B[i,j] u[j])
---
it is not clear what is summed over 'j'

    y[i] = x[i] / (B[i,j] u[j])
                       ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'j' is not on the left.
    Write sum[j](x[i] / (B[i,j] u[j])) or x[i] / sum[j](B[i,j] u[j]).

=== hidden in a function
y = exp(x[j])
---
it is not clear what is summed over 'j'

    y = exp(x[j])
              ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'j' is not on the left.
    Write sum[j](exp(x[j])) or exp(sum[j](x[j])).

=== two hidden
y = exp(x[i,j])
---
it is not clear what is summed over 'i' and 'j'

    y = exp(x[i,j])
              ^ ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'i' and 'j' are not on the left.
    Write sum[i,j](exp(x[i,j])) or exp(sum[i,j](x[i,j])).

=== several lines wrong at once
A[i] = X[i] )
B[i] = sigmod(X[i])
C[i] = X[i] / 2 / 3
---
unexpected ')'

    A[i] = X[i] )
                ^

there is no function 'sigmod'

    B[i] = sigmod(X[i])
           ^^^^^^

    Did you mean 'sigmoid'? There are: <functions>.
    If 'sigmod' is a tensor, put a space before the parenthesis.

a second '/' in one product can be read in two ways

    C[i] = X[i] / 2 / 3
                    ^

    Write parentheses: (a / b) / c, or a / (b c).

=== a / b c
y[i] = x[i] / 2 c[i]
---
what follows a quotient can be read in two ways

    y[i] = x[i] / 2 c[i]
                    ^

    Write parentheses: (a / b) c, or a / (b c).

=== a / b * c
y[i] = x[i] / 2 * c[i]
---
what follows a quotient can be read in two ways

    y[i] = x[i] / 2 * c[i]
                    ^

    Write parentheses: (a / b) c, or a / (b c).

=== a / b / c
y[i] = x[i] / 2 / c[i]
---
a second '/' in one product can be read in two ways

    y[i] = x[i] / 2 / c[i]
                    ^

    Write parentheses: (a / b) / c, or a / (b c).

=== comparison as a number
y[i] = x[i] > 0
---
a comparison is a condition, not a number

    y[i] = x[i] > 0
                ^

    Write where(condition, 1, 0) to count it.

=== comparison in a parenthesis
y[i] = (x[i] > 0) x[i]
---
a comparison is a condition, not a number

    y[i] = (x[i] > 0) x[i]
                 ^

    Write where(condition, 1, 0) to count it.

=== comparison in a sum
y = sum[i](x[i] > 0)
---
a comparison is a condition, not a number

    y = sum[i](x[i] > 0)
                    ^

    Write where(condition, 1, 0) to count it.

=== comparison as an argument
y[i] = exp(x[i] > 0)
---
a comparison is a condition, not a number

    y[i] = exp(x[i] > 0)
                    ^

    Write where(condition, 1, 0) to count it.

=== condition that is none
y[i] = where(x[i] + 1, 1, 0)
---
the first argument of where is a condition

    y[i] = where(x[i] + 1, 1, 0)
           ^^^^^^^^^^^^^^

    Write a comparison, such as where(x > 0, a, b), or a tensor of truth values.

=== too many arguments
y[i] = exp(x[i], 2)
---
exp takes 1 argument (x), not 2

    y[i] = exp(x[i], 2)
           ^^^^^^^^^^^^

    Write exp(x).

=== too few arguments
y[i] = maximum(x[i])
---
maximum takes 2 arguments (a, b), not 1

    y[i] = maximum(x[i])
           ^^^^^^^^^^^^^

    Write maximum(a, b).

=== sum without index
y = sum(x[i])
---
'sum' does not say over which index

    y = sum(x[i])
        ^^^

    Write sum[j](...), with the indices it runs over in brackets.

=== sum without parenthesis
y = sum[i] x[i]
---
expected '(' after sum[i], found 'x'

    y = sum[i] x[i]
               ^

    sum is a function: write sum[i](...). A tensor needs another name, such as 'sum1'.

=== function without parenthesis
y[i] = exp x[i]
---
expected '(' after the function exp, found 'x'

    y[i] = exp x[i]
               ^

    Write exp(x). A tensor needs another name, such as 'exp1'.

=== unclosed parenthesis
y[i] = (x[i] + 1
---
expected ')' to close the parenthesis, found the end of the line

    y[i] = (x[i] + 1
                    ^

    Put the ')' there.

=== unclosed bracket
y[i = x[i]
---
expected ',' or ']' after an index, found '='

    y[i = x[i]
        ^

    Put a comma, or close the bracket of y[...].

=== unclosed size
y[i] = x[i] / |i
---
expected '|' to close the size, found the end of the line

    y[i] = x[i] / |i
                    ^

    Put the '|' there.

=== size of a number
y[i] = x[i] / |2|
---
expected an index between the bars of a size, found '2'

    y[i] = x[i] / |2|
                   ^

=== nothing on the right
y[i] =
---
expected a number, a tensor, a function or '(', found the end of the line

    y[i] =
          ^

=== no equals sign
y[i] x[i]
---
expected '=' or '+=' after the target, found 'x'

    y[i] x[i]
         ^

    Write a target and what it is, such as Y[o,b] = W[o,i] X[i,b].

=== no target
= x[i]
---
expected the name of a tensor, found '='

    = x[i]
    ^

=== number as target
2 = x
---
expected the name of a tensor, found '2'

    2 = x
    ^

=== number as index
y[1] = x[i]
---
the axes of 'y' have no names where it is first written

    y[1] = x[i]
    ^^^^

    Write 'y[n1] = 0' first, and add to it with '+='.

=== character
y[i] = x[i] @ z[i]
---
'@' is not part of the notation

    y[i] = x[i] @ z[i]
                ^

    A product has its indices side by side: Y[o,b] = W[o,h] X[h,b].

=== character outside ASCII
y[i] = σ(x[i])
---
'σ' is not part of the notation

    y[i] = σ(x[i])
           ^

    Names are ASCII: letters, digits, _ and dots.

=== reserved name
sum[i] = x[i]
---
'sum' is reserved: it names a function or a word of the notation

    sum[i] = x[i]
    ^^^

    Choose another name, such as 'sum1' or 'x.sum'.

=== reserved function
y[i] = x[i] + exp
---
expected '(' after the function exp, found the end of the line

    y[i] = x[i] + exp
                     ^

    Write exp(x). A tensor needs another name, such as 'exp1'.

=== name of a function as a tensor
tanh[i] = x[i]
---
'tanh' is reserved: it names a function or a word of the notation

    tanh[i] = x[i]
    ^^^^

    Choose another name, such as 'tanh1' or 'x.tanh'.

=== python word
lambda[i] = x[i]
---
'lambda' is a word of Python

    lambda[i] = x[i]
    ^^^^^^

    Choose another name, such as 'W1' or 'encoder.2.Wq'.

=== python word as an index
y[for] = x[for]
---
'for' is a word of Python

    y[for] = x[for]
      ^^^

    Choose another name for the index.

=== dotted index
y[a.b] = x[a.b]
---
'a.b' is not a plain name: ASCII letters, digits and _

    y[a.b] = x[a.b]
      ^^^

    Choose another name for the index.

=== two underscores
__y[i] = x[i]
---
'__y' starts with two underscores, which Python keeps for itself

    __y[i] = x[i]
    ^^^

    Choose another name, such as 'W1' or 'encoder.2.Wq'.

=== written twice
y[i] = x[i]
y[i] = 2 x[i]
---
'y' is written twice

    y[i] = 2 x[i]
    ^^^^

    first written in: y[i] = x[i]
    Give the second one another name, or add to the first with '+='.

=== added to before written
y[i] += x[i]
---
'y' is added to before it is written

    y[i] += x[i]
    ^^^^

    Write the first one with '='.

=== defined by itself
y[i] = y[i] + 1
---
'y' is defined by itself

    y[i] = y[i] + 1
    ^^^^

    Give the new value another name.

=== read before written
z[i] = y[i]
y[i] = x[i]
---
'y' is read before it is written

    z[i] = y[i]
           ^^^^

    last written in: y[i] = x[i]
    Move the line down, below the last line that writes it.

=== read before the last write
y[i] = x[i]
z[i] = y[i]
y[i] += x[i]
---
'y' is read before it is written

    z[i] = y[i]
           ^^^^

    last written in: y[i] += x[i]
    Move the line down, below the last line that writes it.

=== input written
input y[i]
y[i] = x[i]
---
'y' is declared as an input and written here

    y[i] = x[i]
    ^^^^

    Give one of them another name.

=== input twice
input x[i], x[j]
y[i] = x[i]
---
input 'x' is declared twice

    input x[i], x[j]
                ^^^^

=== output unknown
y[i] = x[i]
output z
---
output 'z' is never written
    There are: x, y.

=== ranks
y[i] = x[i,j] + x[i]
---
'x' has 2 axes in x[i,j] and 1 axis in x[i]

    y[i] = x[i,j] + x[i]
                    ^^^^

    Write one index per axis, the same number everywhere.

=== ranks, three
y[i] = x
z = x[i]
---
'x' has 1 axis in x[i] and no axes in x

    y[i] = x
           ^

    Write one index per axis, the same number everywhere.

=== size from nothing
y[i,q] = x[i]
---
the size of index 'q' follows from nothing

    y[i,q] = x[i]
        ^

    No input has an axis of that name.
    Read a tensor that has 'q', correct the name, or add: where |q| = ...

=== size from nothing in a factor
y[i] = x[i] / |q|
---
the size of index 'q' follows from nothing

    y[i] = x[i] / |q|
                  ^^^

    No input has an axis of that name.
    Read a tensor that has 'q', correct the name, or add: where |q| = ...

=== size from nothing in a condition
y[i] = [i <= |q|] x[i]
---
the size of index 'q' follows from nothing

    y[i] = [i <= |q|] x[i]
                 ^^^

    No input has an axis of that name.
    Read a tensor that has 'q', correct the name, or add: where |q| = ...

=== shadow
y[i] = x[i] sum[i](x[i]^2)
---
index 'i' is summed inside an expression that already uses it

    y[i] = x[i] sum[i](x[i]^2)
    ^^^^

    Give the inner one another name: sum[i2](...).

=== inner shadow
y[i] = sum[j](A[i,j] exp(max[j](A[i,j])))
---
index 'j' is summed inside an expression that already uses it

    y[i] = sum[j](A[i,j] exp(max[j](A[i,j])))
    ^^^^

    Give the inner one another name: max[j2](...).

=== batch occurs nowhere
batch c
y[b] = x[b]
---
the batch index 'c' occurs nowhere
    There are: b.

=== batch with more
batch b c
y[b] = x[b]
---
unexpected 'c'

    batch b c
            ^

=== empty

---
there is no step
    Write at least one line such as 'Y[o,b] = W[o,i] X[i,b]'.

=== only a comment
# nothing
---
there is no step
    Write at least one line such as 'Y[o,b] = W[o,i] X[i,b]'.

=== stray parenthesis
y[i] = x[i])
---
unexpected ')'

    y[i] = x[i])
               ^

=== double operator
y[i] = x[i] + * 2
---
expected a number, a tensor, a function or '(', found '*'

    y[i] = x[i] + * 2
                  ^

=== all clashes at once
y[i] = x[i,j] x[i]
y[i] = z[k] + exp
---
index 'j' occurs in one factor only, and not on the left

    y[i] = x[i,j] x[i]
               ^

    The left side has i.
    If the sum is meant, write sum[j](x[i,j] x[i]); otherwise correct the name.

expected '(' after the function exp, found the end of the line

    y[i] = z[k] + exp
                     ^

    Write exp(x). A tensor needs another name, such as 'exp1'.

=== several semantic problems
y[i,q] = x[i]
y[i] = x[i,i]
output w
---
'y' is written twice

    y[i] = x[i,i]
    ^^^^

    first written in: y[i,q] = x[i]
    Give the second one another name, or add to the first with '+='.

output 'w' is never written
    There are: x, y.

'y' has 2 axes in y[i,q] and 1 axis in y[i]

    y[i] = x[i,i]
    ^^^^

    Write one index per axis, the same number everywhere.

'x' has 1 axis in x[i] and 2 axes in x[i,i]

    y[i] = x[i,i]
           ^^^^^^

    Write one index per axis, the same number everywhere.

the size of index 'q' follows from nothing

    y[i,q] = x[i]
        ^

    No input has an axis of that name.
    Read a tensor that has 'q', correct the name, or add: where |q| = ...

=== line joined
y[i] = (x[i]
  + sigmod(x[i]))
---
there is no function 'sigmod'

    y[i] = (x[i] + sigmod(x[i]))
                   ^^^^^^

    Did you mean 'sigmoid'? There are: <functions>.
    If 'sigmod' is a tensor, put a space before the parenthesis.

=== a tensor named like a function over indices
y[b] = mean[b] + 1
---
expected '(' after mean[b], found '+'

    y[b] = mean[b] + 1
                   ^

    mean is a function: write mean[b](...). A tensor needs another name, such as 'mean1'.

=== a tensor named like a function of entries
y[b] = exp[b]
---
expected '(' after the function exp, found '['

    y[b] = exp[b]
              ^

    Write exp(x). A tensor needs another name, such as 'exp1'.

=== one way out, not twice
y = max[j](x[j,k])
---
it is not clear what is summed over 'k'

    y = max[j](x[j,k])
                   ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'k' is not on the left.
    Write sum[k](max[j](x[j,k])).

=== a condition and nothing that is summed
y[q] = [m[k]] x[q]
---
it is not clear what is summed over 'k'

    y[q] = [m[k]] x[q]
              ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'k' is not on the left.
    Write sum[k]([m[k]] x[q]).

=== parentheses around all that is summed
y = -(x[k] + 1)
---
it is not clear what is summed over 'k'

    y = -(x[k] + 1)
            ^

    An implicit sum needs the index outside parentheses, functions and denominators, and 'k' is not on the left.
    Write sum[k](x[k] + 1) or sum[k](x[k]) + 1.

=== a condition inside a maximum
input s[q]
y = max[q](s[q] log(1 + sum[k]([k <= q] x[k]^2)))
---
a condition stands inside max, where it is not clear what is skipped

    y = max[q](s[q] log(1 + sum[k]([k <= q] x[k]^2)))
    ^

    Give that part a line and a name of its own.

=== a condition inside a choice
y[q] = where(s[q] > 1, [m[q]] x[q], 0)
---
a condition stands inside a choice, where it is not clear what is skipped

    y[q] = where(s[q] > 1, [m[q]] x[q], 0)
    ^^^^

    Give that part a line and a name of its own.

=== a slot that may leave inside a maximum of an expression
input x[i], w[r]
y[p] = max[r](x[(p+r)?] w[r])  where |p| = |i|
---
a slot with '?' stands inside max, where it is not clear whether a 0 takes part

    y[p] = max[r](x[(p+r)?] w[r])  where |p| = |i|
    ^^^^

    Give that part a line and a name of its own.

=== a function of what may leave inside a function
input x[p]
y[p] = log(exp(x[(p-1)?]))
---
a slot with '?' stands inside exp inside a function

    y[p] = log(exp(x[(p-1)?]))
    ^^^^

    Give that part a line and a name of its own.

=== a power of numpy
y[i] = x[i]**2
---
expected a number, a tensor, a function or '(', found '*'

    y[i] = x[i]**2
               ^^

    A power is written with '^': x^2.

=== a product of numpy
y = np.dot(w, x)
---
there is no function 'np.dot'

    y = np.dot(w, x)
        ^^^^^^

    A product has its indices side by side: Y[o,b] = W[o,h] X[h,b].

=== an array method of numpy
y[i] = x[i].T
---
'.' is not part of the notation

    y[i] = x[i].T
               ^

    A transpose is the same tensor read with its indices in another order: W[o,h], W[h,o].

=== a function of numpy
y[i] = np.exp(x[i])
---
there is no function 'np.exp'

    y[i] = np.exp(x[i])
           ^^^^^^

    Write exp(x).

=== a sum of numpy
y = np.sum(x)
---
there is no function 'np.sum'

    y = np.sum(x)
        ^^^^^^

    Write sum[j](...), with the indices it runs over in brackets.

=== minus of a text processor
y[i] = x[i] − z[i]
---
'−' is not part of the notation

    y[i] = x[i] − z[i]
                ^

    Write '-'.

=== a square on paper
y[i] = x[i]²
---
'²' is not part of the notation

    y[i] = x[i]²
               ^

    Write '^2'.

=== statements of Python
y[i] = x[i]; z[i] = y[i]
---
';' is not part of the notation

    y[i] = x[i]; z[i] = y[i]
               ^

    Write every step on a line of its own.

=== no comma
y[i] = A[i j] x[j]
---
expected ',' or ']' after an index, found 'j'

    y[i] = A[i j] x[j]
               ^

    Put a comma, or close the bracket of A[...].

=== a sum without a comma
y = sum[i j](A[i,j])
---
expected ']' or ',' after an index, found 'j'

    y = sum[i j](A[i,j])
              ^

    Put a comma, or close the bracket of sum[...].

=== a maximum of two
y[i] = max(x[i], 0)
---
'max' does not say over which index

    y[i] = max(x[i], 0)
           ^^^

    Write max[j](...), with the indices it runs over in brackets, or maximum(a, b) for one of two numbers.

=== a line that goes on by mistake
y[i] = x[i] +
z[i] = y[i]
---
unexpected '='

    y[i] = x[i] + z[i] = y[i]
                       ^

    A line has one '='. One that ends in an operator, a comma or an open bracket goes on below.

=== a size that nothing has
L = sum[i](x[i]^2) / |n|
---
the size of index 'n' follows from nothing

    L = sum[i](x[i]^2) / |n|
                         ^^^

    No input has an axis of that name.
    Read a tensor that has 'n', correct the name, or add: where |n| = ...

=== written again from itself
y[i] = x[i]
y[i] = 2 y[i]
---
'y' is written twice

    y[i] = 2 y[i]
    ^^^^

    first written in: y[i] = x[i]
    Give the second one another name, or add to the first with '+='.
"""


def golden() -> list:
    """What is wrong, the text, and the message, for every block of `ERRORS`."""
    cases = []
    for block in ERRORS.strip("\n").split("=== ")[1:]:
        title, rest = block.split("\n", 1)
        text, message = rest.split("\n---\n", 1)
        cases.append(pytest.param(text, message.strip("\n"), id=title))
    return cases


@pytest.mark.parametrize(("text", "message"), golden())
def test_errors_show_the_fact_the_place_and_the_way_out(text, message):
    with pytest.raises(NotationError) as caught:
        ip.parse(text)
    assert str(caught.value) == message.replace("<functions>", ", ".join(named(TABLE)))


@given(st.text(max_size=40))
def test_any_text_is_a_program_or_an_error_of_the_notation(text):
    try:
        program = ip.parse(text)
    except NotationError:
        return
    assert ip.parse(str(program)) == program


@given(testing.programs(max_steps=2), st.data())
def test_a_damaged_program_is_a_program_or_an_error_of_the_notation(program, data):
    """Leaving out, doubling or exchanging a piece of a right text never ends in anything but a NotationError."""
    text = str(program)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    put = data.draw(
        st.sampled_from(["", "(", ")", "[", "]", "|", "/", "^", "-", "2", "i", "=", "+=", ",", "sum[", "\n", "where("])
    )
    damaged = text[:start] + put + text[end:]
    try:
        parsed = ip.parse(damaged)
    except NotationError:
        return
    assert ip.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        f"input x[n] \n y[i] = x[{'(' * 3000}i{')' * 3000}] z[i]",
        f"input x[n] \n y[p] = x[p?]  where |p| = {'(' * 3000}2{')' * 3000}",
        f"input x[n] \n y[i] = x[{'a[' * 3000}i{']' * 3000}]",
        f"y = x{'^2' * 3000}",
        f"y = {'exp(' * 3000}x{')' * 3000}",
    ],
)
def test_everything_that_nests_has_one_limit(text):
    with pytest.raises(NotationError) as caught:
        ip.parse(text)
    assert str(caught.value).startswith("more than 60 parentheses, brackets or exponents inside each other\n")
    assert str(caught.value).endswith("Give an inner part a line and a name of its own.")


@pytest.mark.parametrize("number", ["1e99999999", "1e-99999", "1e301", "7" * 301])
def test_numbers_of_many_digits_are_refused_at_once(number):
    with pytest.raises(NotationError) as caught:
        ip.parse(f"y = {number} x")
    assert str(caught.value).startswith("a number of more than 300 digits\n")
    assert str(caught.value).endswith("Read it from an input: floating-point numbers end at 1e308.")


def test_a_line_that_python_cannot_compile_is_refused_in_our_words():
    program = ip.parse("y = " + " + ".join(f"x^{k}" for k in range(2, 3000)))
    step = ip.compile(program)
    assert step(x=np.array(0.5))["y"] == 0.5  # for given sizes there is a line per term
    with pytest.raises(NotationError) as caught:
        _ = step.function
    assert re.match(r"Python does not compile a line of [\d,]+ characters\n", str(caught.value))
    assert str(caught.value).endswith("a line of their own, and add the others with '+='.")


@pytest.mark.parametrize("text", ["y = (1/3) / (z - z)", "y = -2 / (3 (z - z)) + x", "y = 1 / 0", "y = (2/7) x / 0"])
def test_a_quotient_by_zero_prints_as_what_it_is(text):
    program = ip.parse(text)
    assert ip.parse(str(program)) == program


LONG = """
input {inputs}
batch b
Z[b,p] = W[r] X[b,(2*p+r-1)?] + tanh({arguments})  where |p| = (|i| + 2 - |r|) // 2 + 1  # all of them
for t:
    H[t,b] = tanh(a[b] H[(t-1)?,b]) + {terms}
L = sum[b,p](Z[b,p]^2) + sum[t,b](H[t,b])
"""


def test_long_lines_are_broken_and_read_back() -> None:
    """Inputs, terms inside brackets and outside, a comment and a size, in a block and out of it."""
    names = [f"A{number}" for number in range(10, 30)]
    program = ip.parse(
        LONG.format(
            inputs=", ".join(["X[b,i]", "W[r]", "a[b]", *(f"{name}[t,b,p]" for name in names)]),
            arguments=" + ".join(f"sum[t]({name}[t,b,p])" for name in names[:8]),
            terms=" + ".join(f"sum[p]({name}[t,b,p])" for name in names[8:]),
        )
    )
    text = str(program)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) > 12
    assert ip.parse(text) == program
    assert str(ip.parse(text)) == text
    assert [step.comment for step in ip.parse(text).steps] == [step.comment for step in program.steps]
    assert ip.parse(text).steps[0].comment == "all of them"


@pytest.mark.parametrize("sign", [",", "+", "-", "/", "="])
def test_a_line_goes_on_behind_a_comma_and_an_operator(sign: str) -> None:
    lines = {",": "input a[i], b[i]", "=": "y[i] = a[i]"}.get(sign, f"y[i] = a[i] {sign} b[i]")
    rest = "\ny[i] = a[i] b[i]" if sign == "," else ""
    assert ip.parse(lines.replace(f"{sign} ", f"{sign}  # goes on\n        ") + rest) == ip.parse(lines + rest)
