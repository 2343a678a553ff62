"""Package metadata and dependencies; tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
if not (HERE / "src" / "robosac" / "detectors" / "__init__.py").is_file():
    raise SystemExit(
        "robosac: expected src/robosac and robosac/detectors to be links, got files: this checkout was made without "
        "symbolic links; set git config core.symlinks true (on Windows: developer mode, too) and check out again"
    )
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "src" / "robosac" / "__init__.py").read_text()).group(1)

setup(
    name="robosac",
    version=VERSION,
    description="Consensus defence for V2X collaborative 3D detection: wraps any detector against malicious teammates",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    author="robosac contributors",
    url="https://arxiv.org/abs/2303.09495",  # of the paper, until the project has a page of its own
    project_urls={"Paper": "https://arxiv.org/abs/2303.09495"},
    keywords=["V2X", "collaborative perception", "3D detection", "adversarial robustness", "consensus", "LiDAR"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    license="MIT",
    python_requires=">=3.10",
    # src holds one link, to robosac, which holds links to detectors, attacks, language and configs. So these are
    # installed and imported as robosac.detectors, robosac.attacks and so on, and an editable install puts on the path
    # a folder that holds nothing but robosac: no user's detectors or attacks folder shadows ours, nor ours theirs
    packages=[*find_packages("src"), "robosac.configs"],
    package_dir={"": "src"},
    package_data={
        "robosac": ["py.typed"],
        "robosac.viz": ["*.html"],
        "robosac.configs": ["*.yaml", "*/*.yaml"],
        "robosac.detectors": ["weights/*"],
        "robosac.defenses.rivals": ["weights/*"],
        "robosac.language": ["weights/*"],
        "robosac.simulation": ["networks/*.xml"],
    },
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.11",
        "numba>=0.59",
        "shapely>=2.0",
        "mpmath>=1.3",
        "torch>=2.2",
        "matplotlib>=3.8",
        "pydantic>=2.5",
        "typer>=0.12",
        "rich>=13.0",
        "safetensors>=0.4",
        "PyYAML>=6.0",
        "embreex>=2.17.7",
        "python-neo-lzf>=0.3.5",
    ],
    extras_require={
        "open3d": ["open3d>=0.18"],
        "fleet": ["flwr[simulation]>=1.42"],
        "llm": ["transformers>=4.56", "peft>=0.17"],
        "sumo": ["libsumo>=1.28"],
        "ray": ["ray>=2.40"],
        "rosbag": ["rosbags>=0.10"],
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            "setuptools>=77",
        ],
        "dev": ["ruff>=0.6", "mypy>=1.11", "types-PyYAML", "mutmut>=3.8"],
    },
    entry_points={"console_scripts": ["robosac=robosac.__main__:main"]},
)
