"""Every notebook runs from top to bottom, in the interpreter of the tests, and holds no outputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def own_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsyncKernelManager]:
    """A kernel of this interpreter, whatever kernels are registered on the machine; it leaves nothing behind.

    All notebooks run in one, which has loaded torch after the first of them, and forgets their names in between.
    """
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder / name.lower()))
        # without any folder to look in, `python3` is the kernel that the ipykernel of this environment describes
        kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        yield kernel
        run_sync(kernel.shutdown_kernel)(now=True)


def run(notebook: nbformat.NotebookNode, kernel: AsyncKernelManager, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder` and in a namespace that holds nothing."""
    empty = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {folder}")
    run_alone(nbformat.v4.new_notebook(cells=[empty]), kernel, folder)
    return run_alone(notebook, kernel, folder)


def run_alone(notebook: nbformat.NotebookNode, kernel: AsyncKernelManager, folder: Path) -> nbformat.NotebookNode:
    client = NotebookClient(notebook, km=kernel, timeout=300, resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path: Path, own_kernel: AsyncKernelManager, tmp_path: Path) -> None:
    done = run(nbformat.read(path, as_version=4), own_kernel, tmp_path)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_outputs_are_stored(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [c.outputs for c in code] == [[]] * len(code)
    assert [c.execution_count for c in code] == [None] * len(code)
    assert notebook.metadata.kernelspec.name == "python3"


def test_there_are_notebooks_and_they_are_short() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        code = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
        assert len(code.splitlines()) <= 100, f"{path.name}: logic belongs in the package"


def test_a_notebook_that_fails_fails_the_test(own_kernel: AsyncKernelManager, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import sys\nassert False, sys.executable")]
    with pytest.raises(CellExecutionError) as caught:
        run(nbformat.v4.new_notebook(cells=cells), own_kernel, tmp_path)
    assert sys.executable in str(caught.value)  # and it ran in this interpreter
