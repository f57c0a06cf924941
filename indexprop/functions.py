"""THE table of functions: one record each, and nothing else to write.

A record says what the function is (`value`, for one float), what the rule of differentiation makes of it
(`derivative`), how it is set in LaTeX and spelled in numpy, where tests may draw its arguments, and what is agreed
at kinks and poles.

The derivative is text in the notation: *upstream times local*, with `d` for what comes in, the parameters by their
names, and `y` for the value of the function itself, so that a forward value is reused. Because it is linear in `d`,
the same text serves both directions: `d` is the cotangent of the result in reverse mode, and the tangent of the
parameter in forward mode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from indexprop.errors import NameProblem, Problem, did_you_mean


@dataclass(frozen=True)
class Function:
    """A function of single entries.

    `derivative`: one text per parameter, None where nothing flows (conditions).
    `value`: over floats, without overflow; `math.<name>` unless given.
    `definition`: the textbook formula in the notation, where `numpy` spells a stabler one; it is analytic, so that
    the complex step can use it. `numpy`: an expression over the parameters in braces, or the source of a small
    function; `np.<name>(...)` unless given; `torch` and `jax` the same where another module is not enough of a
    difference. `domain`: where tests draw each parameter; `kinks`: arguments that tests stay away from. `why`: where
    the derivative comes from, if it does not show. `defaults`: values for trailing parameters that may be left out.
    """

    name: str
    derivative: tuple[str | None, ...]
    latex: str
    parameters: tuple[str, ...] = ("x",)
    value: Callable[..., float | bool] | None = None
    definition: str = ""
    numpy: str = ""
    torch: str = ""
    jax: str = ""
    domain: tuple[tuple[float, float], ...] = ((-2.0, 2.0),)
    kinks: tuple[float, ...] = ()
    convention: str = ""
    why: str = ""
    defaults: tuple[str, ...] = ()
    infix: bool = False
    condition: bool = field(default=False)

    @property
    def reuses_value(self) -> bool:
        """Whether the derivative is written with the value `y`, so that the value deserves a name."""
        return any(re.search(r"\by\b", text) for text in self.derivative if text)

    def __call__(self, *arguments: float) -> float | bool:
        """The value at numbers.

        >>> TABLE["sigmoid"](0.0)
        0.5
        """
        value: Callable[..., float | bool] = self.value or getattr(math, self.name)
        return value(*arguments)


def _power(a: float, b: float) -> float:
    if a == 0 and b < 0:
        return math.copysign(math.inf, a) if b == int(b) and int(b) % 2 else math.inf
    try:
        result = a**b
    except OverflowError:
        return math.inf
    return math.nan if isinstance(result, complex) and not isinstance(a, complex) else result


def _sigmoid(x: float) -> float:
    small = math.exp(-abs(x))
    return (1.0 if x >= 0 else small) / (1.0 + small)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _larger(a: float, b: float) -> float:
    return a if a > b or a != a else b  # what is not a number stays, as in numpy


def _smaller(a: float, b: float) -> float:
    return a if a < b or a != a else b


def _gelu_tanh(x: float) -> float:
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


SIGMOID = '''
def sigmoid(x):
    """1 / (1 + exp(-x)); exp only ever sees -|x|, so nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
'''

SOFTPLUS = '''
def softplus(x):
    """log(1 + exp(x)); exp only ever sees -|x|, so nothing overflows."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
'''

LOGSIGMOID = '''
def logsigmoid(x):
    """log(sigmoid(x)); exp only ever sees -|x|, so nothing overflows."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
'''

ELU = '''
def elu(x, a):
    """x where it is positive, a (exp(x) - 1) elsewhere."""
    return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))
'''

ERF = '''
def erf(x):
    """The error function of the standard library, entry by entry."""
    x = np.asarray(x)
    return np.vectorize(math.erf, otypes=[x.dtype])(x)
'''

SILU = '''
def silu(x):
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)
'''

GELU = '''
def gelu(x):
    """x times the probability that a standard normal variable is below x."""
    return x * (1 + erf(x / math.sqrt(2))) / 2
'''

GELU_TANH = '''
def gelu_tanh(x):
    """The approximation of gelu by a hyperbolic tangent."""
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
'''

POSITIVE = ((0.2, 3.0),)

_RECORDS = (
    # name, derivative, LaTeX: a rule reads like the mathematics
    Function("exp", ("d y",), r"\exp\left(#1\right)"),
    Function("log", ("d / x",), r"\log\left(#1\right)", domain=POSITIVE, convention="-inf at 0"),
    Function("log1p", ("d / (1 + x)",), r"\log\left(1 + #1\right)", domain=((-0.8, 3.0),), convention="-inf at -1"),
    Function("expm1", ("d (y + 1)",), r"\left(\exp\left(#1\right) - 1\right)"),
    Function("sqrt", ("d / (2 y)",), r"\sqrt{#1}", domain=POSITIVE, convention="the derivative is inf at 0"),
    Function("square", ("2 d x",), r"\left(#1\right)^2", value=lambda x: x * x),
    Function(
        "abs",
        ("d sign(x)",),
        r"\left|#1\right|",
        value=abs,
        definition="where(x < 0, -x, x)",
        kinks=(0.0,),
        convention="the derivative is 0 at 0",
    ),
    Function(
        "sign",
        ("0",),
        r"\operatorname{sign}\left(#1\right)",
        value=lambda x: float((x > 0) - (x < 0)),
        definition="where(x > 0, 1, where(x < 0, -1, 0))",
        kinks=(0.0,),
        convention="0 at 0; the derivative is 0 everywhere",
    ),
    Function("sin", ("d cos(x)",), r"\sin\left(#1\right)"),
    Function("cos", ("-d sin(x)",), r"\cos\left(#1\right)"),
    Function("tan", ("d (1 + y^2)",), r"\tan\left(#1\right)", domain=((-1.2, 1.2),), convention="poles at odd pi/2"),
    Function("arctan", ("d / (1 + x^2)",), r"\arctan\left(#1\right)", value=math.atan),
    Function("sinh", ("d cosh(x)",), r"\sinh\left(#1\right)"),
    Function("cosh", ("d sinh(x)",), r"\cosh\left(#1\right)"),
    Function("tanh", ("d (1 - y^2)",), r"\tanh\left(#1\right)"),
    Function(
        "sigmoid",
        ("d y (1 - y)",),
        r"\sigma\left(#1\right)",
        value=_sigmoid,
        definition="1 / (1 + exp(-x))",
        why="y is 1 / (1 + exp(-x)), and 1 - y is exp(-x) / (1 + exp(-x)); the derivative of y is their product",
        numpy=SIGMOID,
        torch="torch.sigmoid({x})",
        jax="jax.nn.sigmoid({x})",
    ),
    Function(
        "softplus",
        ("d sigmoid(x)",),
        r"\operatorname{softplus}\left(#1\right)",
        value=_softplus,
        definition="log(1 + exp(x))",
        numpy=SOFTPLUS,
        torch="torch.logaddexp({x}, torch.zeros_like({x}))",
        jax="jax.nn.softplus({x})",
    ),
    Function(
        "logsigmoid",
        ("d sigmoid(-x)",),
        r"\log\sigma\left(#1\right)",
        value=lambda x: -_softplus(-x),
        definition="-log(1 + exp(-x))",
        numpy=LOGSIGMOID,
        torch="torch.nn.functional.logsigmoid({x})",
        jax="jax.nn.log_sigmoid({x})",
    ),
    Function(
        "relu",
        ("where(x > 0, d, 0)",),
        r"\operatorname{relu}\left(#1\right)",
        value=lambda x: max(x, 0.0),
        definition="where(x > 0, x, 0)",
        numpy="np.maximum({x}, 0)",
        torch="torch.relu({x})",
        kinks=(0.0,),
        convention="the derivative is 0 at 0",
    ),
    Function(
        "leaky_relu",
        ("where(x > 0, d, d slope)", "where(x > 0, 0, d x)"),
        r"\operatorname{leaky\_relu}\left(#1, #2\right)",
        parameters=("x", "slope"),
        value=lambda x, slope: x if x > 0 else slope * x,
        definition="where(x > 0, x, slope x)",
        numpy="np.where({x} > 0, {x}, {slope} * {x})",
        domain=((-2.0, 2.0), (0.01, 0.5)),
        kinks=(0.0,),
        convention="the derivative is the slope at 0",
        defaults=("0.01",),
    ),
    Function(
        "elu",
        ("where(x > 0, d, d (y + a))", "where(x > 0, 0, d expm1(minimum(x, 0)))"),
        r"\operatorname{elu}\left(#1, #2\right)",
        parameters=("x", "a"),
        value=lambda x, a: x if x > 0 else a * math.expm1(x),
        definition="where(x > 0, x, a (exp(x) - 1))",
        numpy=ELU,
        torch=ELU.replace("np.minimum(x, 0)", "x.clamp(max=0)").replace("np.", "torch."),
        domain=((-2.0, 2.0), (0.5, 1.5)),
        kinks=(0.0,),
        convention="the derivative is a at 0",
        defaults=("1",),
    ),
    Function(
        "silu",
        ("d sigmoid(x) (1 + x (1 - sigmoid(x)))",),
        r"\operatorname{silu}\left(#1\right)",
        value=lambda x: x * _sigmoid(x),
        definition="x / (1 + exp(-x))",
        numpy=SILU,
        torch="torch.nn.functional.silu({x})",
        jax="jax.nn.silu({x})",
    ),
    Function(
        "gelu",
        ("d ((1 + erf(x / sqrt(2))) / 2 + x exp(-x^2 / 2) / sqrt(2 pi))",),
        r"\operatorname{gelu}\left(#1\right)",
        value=lambda x: 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0))),
        definition="x (1 + erf(x / sqrt(2))) / 2",
        numpy=GELU,
        torch="torch.nn.functional.gelu({x})",
        jax="jax.nn.gelu({x}, approximate=False)",
    ),
    Function(
        "gelu_tanh",
        (
            "d ((1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2"
            " + x (1 - tanh(sqrt(2 / pi) (x + 0.044715 x^3))^2) sqrt(2 / pi) (1 + 0.134145 x^2) / 2)",
        ),
        r"\operatorname{gelu_{\tanh}}\left(#1\right)",
        value=_gelu_tanh,
        definition="x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
        numpy=GELU_TANH,
        torch='torch.nn.functional.gelu({x}, approximate="tanh")',
        jax="jax.nn.gelu({x}, approximate=True)",
    ),
    Function(
        "erf",
        ("2 d exp(-x^2) / sqrt(pi)",),
        r"\operatorname{erf}\left(#1\right)",
        numpy=ERF,
        torch="torch.erf({x})",
        jax="jax.lax.erf({x})",
    ),
    Function(
        "maximum",
        ("where(a > b, d, where(a == b, d / 2, 0))", "where(a < b, d, where(a == b, d / 2, 0))"),
        r"\max\left(#1, #2\right)",
        parameters=("a", "b"),
        value=_larger,
        definition="where(a > b, a, b)",
        torch="torch.clamp({a}, min={b})",
        domain=((-2.0, 2.0), (-2.0, 2.0)),
        convention="equal arguments share the cotangent evenly",
    ),
    Function(
        "minimum",
        ("where(a < b, d, where(a == b, d / 2, 0))", "where(a > b, d, where(a == b, d / 2, 0))"),
        r"\min\left(#1, #2\right)",
        parameters=("a", "b"),
        value=_smaller,
        definition="where(a < b, a, b)",
        torch="torch.clamp({a}, max={b})",
        domain=((-2.0, 2.0), (-2.0, 2.0)),
        convention="equal arguments share the cotangent evenly",
    ),
    Function(
        "clip",
        (
            "where(x < low, 0, where(x > high, 0, d))",
            "where(x < low, where(low > high, 0, d), 0)",
            "where(x > high, d, where(low > high, d, 0))",
        ),
        r"\operatorname{clip}\left(#1, #2, #3\right)",
        parameters=("x", "low", "high"),
        value=lambda x, low, high: min(max(x, low), high),
        definition="where(x > high, high, where(x < low, where(low > high, high, low), x))",
        torch="torch.clamp(torch.clamp({x}, min={low}), max={high})",
        domain=((-2.0, 2.0), (-1.5, -0.5), (0.5, 1.5)),
        convention="at a bound the cotangent goes to x; where the bounds are crossed the value is the upper one",
    ),
    Function(
        "where",
        (None, "where(c, d, 0)", "where(c, 0, d)"),
        r"\begin{cases} #2 & #1 \\ #3 & \text{otherwise} \end{cases}",
        parameters=("c", "a", "b"),
        value=lambda c, a, b: a if c else b,
        domain=((-2.0, 2.0), (-2.0, 2.0), (-2.0, 2.0)),
        convention="the branch that was not chosen gets exactly 0, whatever its value",
    ),
    Function(
        "^",
        ("b d a^(where(b == 0, 1, b) - 1)", "d y log(where(a > 0, a, 1))"),
        r"#1^{#2}",
        parameters=("a", "b"),
        value=_power,
        numpy="{a}**{b}",
        domain=((0.2, 3.0), (-2.0, 2.0)),
        infix=True,
        convention="x^0 is 1, and its derivative by x is 0, for x = 0 as well; the derivative by the exponent is 0 "
        "where the base is not positive; below an exponent of 1 the derivative by the base is inf at 0",
    ),
    Function("pi", (), r"\pi", parameters=(), value=lambda: math.pi, numpy="np.pi", domain=()),
    Function("inf", (), r"\infty", parameters=(), value=lambda: math.inf, numpy="np.inf", domain=()),
    *(
        Function(
            sign,
            (None, None),
            latex,
            parameters=("a", "b"),
            value=value,
            numpy=f"{{a}} {sign} {{b}}",
            domain=((-2.0, 2.0), (-2.0, 2.0)),
            infix=True,
            condition=True,
        )
        for sign, latex, value in (
            ("<", r"#1 < #2", lambda a, b: a < b),
            ("<=", r"#1 \le #2", lambda a, b: a <= b),
            (">", r"#1 > #2", lambda a, b: a > b),
            (">=", r"#1 \ge #2", lambda a, b: a >= b),
            ("==", r"#1 = #2", lambda a, b: a == b),
            ("!=", r"#1 \ne #2", lambda a, b: a != b),
        )
    ),
    Function(
        "stop",
        (None,),
        r"\operatorname{stop}\left(#1\right)",
        value=lambda x: x,
        numpy="{x}",
        torch="{x}.detach()",
        jax="jax.lax.stop_gradient({x})",
        convention="the value is held constant: no cotangent passes",
    ),
)


@dataclass(frozen=True)
class Indexed:
    """A function over an index: a record that stands for its definition.

    `definition`: lines in the notation that end in `y`, over the parameters and the index `k`; other indices of the
    arguments are carried along. `adjoint`: for a parameter, lines that end in its cotangent, written with `d`, `y` and
    the parameters; a parameter without one is differentiated through the definition. A test proves every adjoint equal
    to the derived one. `why` tells a reader where its lines come from; `masks` that a condition in front of the
    argument leaves entries out: `softmax[k]([k <= q] Z[q,k])`.
    """

    name: str
    definition: str
    latex: str
    parameters: tuple[str, ...] = ("x",)
    adjoint: Mapping[str, str] = field(default_factory=dict)
    defaults: tuple[str, ...] = ()
    convention: str = ""
    why: str = ""
    masks: bool = False

    @property
    def keeps(self) -> bool:
        """Whether the value still has the index."""
        return self.definition.strip().splitlines()[-1].strip().startswith("y[k]")


_INDEXED = (
    Indexed(
        "softmax",
        """
        m = max[k](x[k])
        z[k] = x[k] - stop(maximum(m, -10^9))
        e[k] = exp(z[k])
        s = e[k]
        y[k] = e[k] / where(s > 0, s, 1)
        """,
        r"\operatorname{softmax}",
        adjoint={
            "x": """
            s = d[k] y[k]
            dx[k] = y[k] (d[k] - s)
            """
        },
        masks=True,
        convention="the largest argument is subtracted first, so nothing overflows; where all are below -10^9, "
        "as in a row that is masked throughout, the result is 0",
        why="y[j] is exp(x[j]) divided by the sum of all exponentials, and x[k] is in the divisor of every y[j]: "
        "by the quotient rule the derivative of y[j] by x[k] is y[j] ([j == k] - y[k]), the bracket 1 where j is k and "
        "0 elsewhere. Times d[j], and summed over j: the bracket leaves d[k] y[k], and the rest takes away y[k] times "
        "s, the sum of all d[j] y[j]. With a single k, y is 1 and the gradient 0.",
    ),
    Indexed(
        "log_softmax",
        """
        m = max[k](x[k])
        z[k] = x[k] - stop(maximum(m, -10^9))
        s = sum[k](exp(z[k]))
        y[k] = z[k] - log(where(s > 0, s, 1))
        """,
        r"\log\operatorname{softmax}",
        adjoint={
            "x": """
            s = d[k]
            p[k] = softmax[k](x[k])
            dx[k] = d[k] - p[k] s
            """
        },
        masks=True,
        convention="-inf at arguments of -inf, whatever the others are; 0 at entries that a condition leaves out",
        why="An entry stands in its own y, which gives d; the logarithm of the sum stands in all of "
        "them, and the derivative of that is the softmax.",
    ),
    Indexed(
        "argmax",
        """
        m = max[k](x[k])
        w[k] = cumsum[k](where(x[k] == m, 1, 0))
        y = sum[k](where(w[k] > 0, 0, 1))
        """,
        r"\operatorname{argmax}",
        convention="over one index: how many entries stand before the first of the largest; no cotangent passes",
    ),
    Indexed(
        "logsumexp",
        """
        m = max[k](x[k])
        z[k] = x[k] - stop(maximum(m, -10^9))
        s = sum[k](exp(z[k]))
        y = log(where(s > 0, s, 1)) + stop(m)
        """,
        r"\operatorname{logsumexp}",
        adjoint={
            "x": """
            p[k] = softmax[k](x[k])
            dx[k] = d p[k]
            """
        },
        masks=True,
        convention="-inf where every argument is -inf; the derivative is 0 there",
        why="The derivative of the logarithm is one over the sum, that of a summand its exponential: the softmax.",
    ),
    Indexed(
        "var",
        """
        u = sum[k](x[k]) / |k|
        y = sum[k]((x[k] - u)^2) / |k|
        """,
        r"\operatorname{var}",
        adjoint={
            "x": """
            u = sum[k](x[k]) / |k|
            dx[k] = 2 d (x[k] - u) / |k|
            """
        },
        why="What an entry adds through the mean u is zero, because the distances from the mean add up to zero.",
        convention="over |k|, not |k| - 1",
    ),
    Indexed(
        "std",
        """
        v = var[k](x[k])
        y = sqrt(v)
        """,
        r"\operatorname{std}",
        adjoint={
            "x": """
            u = sum[k](x[k]) / |k|
            dx[k] = where(y > 0, d (x[k] - u) / (|k| where(y > 0, y, 1)), 0)
            """
        },
        why="The derivative of the variance, divided by the 2 y that comes from the root.",
        convention="over |k|, not |k| - 1; the derivative of a constant is 0",
    ),
    Indexed(
        "norm",
        """
        s = sum[k](x[k]^2)
        y = sqrt(s)
        """,
        r"\operatorname{norm}",
        adjoint={"x": "dx[k] = where(y > 0, d x[k] / where(y > 0, y, 1), 0)"},
        convention="the Euclidean norm; over two indices the Frobenius norm; the derivative at 0 is 0",
    ),
    Indexed(
        "norm1",
        "y = sum[k](abs(x[k]))",
        r"\operatorname{norm}_1",
        adjoint={"x": "dx[k] = d sign(x[k])"},
        convention="the sum of absolute values; the derivative at 0 is 0",
    ),
    Indexed(
        "cosine",
        """
        a = norm[k](x[k])
        b = norm[k](z[k])
        p = where(a > 0, a, 1)
        q = where(b > 0, b, 1)
        s = sum[k](x[k] z[k])
        y = s / (p q)
        """,
        r"\operatorname{cosine}",
        parameters=("x", "z"),
        adjoint={
            "x": """
            a = norm[k](x[k])
            b = norm[k](z[k])
            p = where(a > 0, a, 1)
            q = where(b > 0, b, 1)
            dx[k] = d (z[k] / q - y x[k] / p) / p
            """,
            "z": """
            a = norm[k](x[k])
            b = norm[k](z[k])
            p = where(a > 0, a, 1)
            q = where(b > 0, b, 1)
            dz[k] = d (x[k] / p - y z[k] / q) / q
            """,
        },
        why="An entry stands in the sum, which gives the other argument, and in the norm of its own, which takes away "
        "the share y along it.",
        convention="of two arguments: the cosine of the angle between them; a norm of 0 counts as 1",
    ),
    Indexed(
        "cumsum",
        "y[k] = sum[j]([j <= k] x[j])",
        r"\operatorname{cumsum}",
        convention="over one index",
    ),
    Indexed(
        "layer_norm",
        """
        u = sum[k](x[k]) / |k|
        c[k] = x[k] - u
        variance = sum[k](c[k]^2) / |k|
        scale = 1 / sqrt(variance + eps)
        y[k] = c[k] scale
        """,
        r"\operatorname{layernorm}",
        parameters=("x", "eps"),
        adjoint={
            "x": """
            variance = var[k](x[k])
            scale = 1 / sqrt(variance + eps)
            mean_d = sum[k](d[k]) / |k|
            along = sum[k](d[k] y[k]) / |k|
            dx[k] = scale (d[k] - mean_d - y[k] along)
            """
        },
        why="Each entry has three parts in the result: its own, scale d; through the mean, which takes away mean_d, "
        "the mean of all d; and through the deviation, which takes away y along, the part of d along y.",
        defaults=("0.00001",),
        convention="without scale and shift; multiply and add them",
    ),
    Indexed(
        "rms_norm",
        """
        mean_square = sum[k](x[k]^2) / |k|
        scale = 1 / sqrt(mean_square + eps)
        y[k] = x[k] scale
        """,
        r"\operatorname{rmsnorm}",
        parameters=("x", "eps"),
        adjoint={
            "x": """
            mean_square = sum[k](x[k]^2) / |k|
            scale = 1 / sqrt(mean_square + eps)
            along = sum[k](d[k] y[k]) / |k|
            dx[k] = scale (d[k] - y[k] along)
            """
        },
        why="Each entry has two parts in the result: its own, scale d, and through the root of the mean square, which "
        "takes away y along, the part of d along y.",
        defaults=("0.00001",),
        convention="without scale; multiply it",
    ),
)

TABLE: dict[str, Function] = {}
INDEXED: dict[str, Indexed] = {}


Record = TypeVar("Record", Function, Indexed)


def register(function: Record) -> Record:
    """Adds a record to its table, after which parsing, deriving, printing, running and checking know the function.

    Raises NameProblem when the name is taken or is no plain name, or when the record does not fit its own parameters.
    """
    problems = []
    if function.name in TABLE or function.name in INDEXED:
        problems.append(Problem(f"a function named {function.name!r} exists", way_out="Choose another name."))
    if not function.name.isidentifier() and not (isinstance(function, Function) and function.infix):
        problems.append(Problem(f"{function.name!r} is not a plain name", way_out="Use letters, digits and _."))
    if isinstance(function, Indexed):
        problems += [
            Problem(
                f"the record of {function.name!r} has an adjoint for {parameter!r}, which is no parameter",
                way_out=did_you_mean(parameter, function.parameters),
            )
            for parameter in function.adjoint
            if parameter not in function.parameters
        ]
    elif len(function.derivative) != len(function.parameters) or len(function.domain) != len(function.parameters):
        problems.append(
            Problem(
                f"the record of {function.name!r} does not fit its parameters {', '.join(function.parameters)}",
                evidence=f"derivatives: {len(function.derivative)}, domains: {len(function.domain)}",
                way_out="Give one derivative and one domain per parameter.",
            )
        )
    if problems:
        raise NameProblem(*problems)
    if isinstance(function, Indexed):
        INDEXED[function.name] = function
    else:
        TABLE[function.name] = function
    return function


def lookup(name: str) -> Function:
    """The record of a function, or an error that says which exist."""
    if name not in TABLE:
        raise NameProblem(Problem(f"there is no function {name!r}", way_out=did_you_mean(name, named(TABLE))))
    return TABLE[name]


def named(names: Iterable[str]) -> list[str]:
    """The functions that are written by name, sorted."""
    return sorted(name for name in names if name[0].isalpha())


for _record in _RECORDS:
    register(_record)
for _indexed in _INDEXED:
    register(_indexed)
