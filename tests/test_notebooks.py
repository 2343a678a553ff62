"""Every notebook runs from top to bottom, in the interpreter of the tests, and holds no outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture
def own_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncKernelManager:
    """A kernel of this interpreter, whatever kernels are registered on the machine; it leaves nothing behind."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # without any folder to look in, `python3` is the kernel that the ipykernel of this environment describes
    return AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))


def run(notebook: nbformat.NotebookNode, kernel: AsyncKernelManager, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder`."""
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
