"""The house: modules import only from below, and what needs no numpy does not load it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import indexprop

PACKAGE = Path(indexprop.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "explanation" / "design.md"
ORDER = re.findall(r"^\| `(\w+)` \|", DESIGN.read_text(encoding="utf-8"), re.M)
LEVEL = {name: len(ORDER) - number for number, name in enumerate(ORDER)} | {"__init__": len(ORDER) - 1.5}
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))
LATE = {
    "numpy",
    "opt_einsum",
    "einops",
    "torch",
    "safetensors",
    "hypothesis",
    "rich",
    "IPython",
}  # loaded in functions, when used


def imported(tree: ast.AST) -> list[tuple[str, bool]]:
    """The modules a file imports, and whether at its top level."""
    found = []
    top = set(map(id, ast.iter_child_nodes(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "indexprop":
            found += [(f"indexprop.{alias.name}", id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.append((str(node.module), id(node) in top))
    return found


def source(module: str) -> ast.AST:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def test_every_module_has_its_place():
    assert sorted([*ORDER, "__init__"]) == MODULES


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_imports_go_downwards(module):
    for name, _ in imported(source(module)):
        if name.startswith("indexprop."):
            below = name.split(".")[1]
            assert LEVEL.get(below, -1) < LEVEL[module], f"{module} imports {below}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_of_our_own_are_at_the_top(module):
    """A function-level import hides a cycle; only third-party packages are loaded late."""
    tree = source(module)
    checking = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    for_types = {name for node in checking for name, _ in imported(node)}
    for name, top in imported(tree):
        if not top and name not in for_types:
            optional = name.split(".")[0] in LATE or name == "indexprop.testing"  # which needs hypothesis
            assert optional, f"{module} imports {name} inside a function"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOADED = (
    "import sys; print(*sorted({'numpy', 'opt_einsum', 'einops', 'hypothesis', 'torch', 'jax'} & set(sys.modules)))"
)
WITHOUT_NUMPY = {
    "import": "",
    "parse and print": "str(net)",
    "derive": "str(grad); str(ip.vjp(grad.program, of='dW')); str(ip.jvp(net))",
    "format": "[listing.format(grad, form) for form in ('index', 'einsum', 'matrix')]",
    "explain": "str(exposition.explain(grad, 'W')); exposition.explain(grad, 'W')._repr_mimebundle_()",
    "source": "[ip.source(grad, layout=one, style=two) for one in ('column', 'row') for two in ('einsum', 'matmul')]",
    "lay out": "str(ip.explain('column', 'torch', grad)); str(ip.compare(net)); ip.source(grad, layout='keras'); "
    "str(ip.conventions.record('lstm', 'nnx')); ip.weights.read_map('[layers]\\nfc = \"dense\"')",
    "source in torch and jax": "[ip.source(grad, dialect=one, differentiable=True) for one in ('torch', 'jax')]",
    "symbols": "W, X = symbols.tensor('W', 'o i'), symbols.tensor('X', 'i b'); "
    "str(symbols.program(Y=symbols.einsum('oi,ib->ob', W, X)))",
}


@pytest.mark.parametrize("what", WITHOUT_NUMPY)
def test_without_numpy(what):
    """Importing, parsing, deriving, explaining and printing source load nothing but the standard library."""
    net = "Z[o,b] = W[o,i] X[i,b] + c[o]\\nL = sum[o,b]((sigmoid(Z[o,b]) - T[o,b])^2) / (2 |b|)"
    code = "import indexprop as ip\nfrom indexprop import exposition, layers, listing, symbols\n"
    code += f"net = ip.parse('{net}')\ngrad = ip.gradient(net, wrt=['W', 'c'])\n"
    assert run(f"{code}{WITHOUT_NUMPY[what]}\n{LOADED}").split() == []


def test_testing_without_hypothesis_says_what_to_install():
    code = """
import sys
sys.modules["hypothesis"] = None
try:
    import indexprop.testing
except ImportError as error:
    print(error)
"""
    assert run(code) == 'indexprop.testing needs hypothesis: pip install "indexprop[testing]"\n'
