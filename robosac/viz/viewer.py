"""The 3D window and its off-screen twin, by Open3D: an extra (`pip install robosac[open3d]`), imported when needed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.colors import to_rgb

from robosac.errors import InputError, RobosacError
from robosac.files import write_whole
from robosac.viz.scene3d import BACKDROP, Scene3D

_PACKAGES: Final = {  # shared library -> Debian's package
    "libusb-1.0": "libusb-1.0-0",
    "libGL": "libgl1",
    "libEGL": "libegl1",
    "libgomp": "libgomp1",
    "libX11": "libx11-6",
}
_BACKGROUND: Final = (*to_rgb(BACKDROP), 1.0)
_EYE_M: Final = np.array([-45.0, -32.0, 42.0])  # behind, right of and above the ego, which looks along +x


def open3d() -> Any:
    """The module Open3D.

    Raises:
        InputError: if it is not installed, or a library of the system that it needs is missing; says which.
    """
    try:
        return importlib.import_module("open3d")
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected Open3D for pictures in 3D, got {error}; pip install 'robosac[open3d]' (900 MB)"
        ) from None
    except (ImportError, OSError) as error:
        missing = re.search(r"(lib[\w.+-]+?)\.so", str(error))
        library = missing.group(1) if missing else ""
        package = next((p for start, p in _PACKAGES.items() if library.startswith(start)), "")
        mend = f"apt-get install {package}" if package else "see its installation page"
        raise InputError(f"Open3D is installed but does not load: {error}; {mend}") from None


def show(scenes: Iterable[tuple[Scene3D, str]]) -> None:
    """Open a window and go through the scenes, a title each; the last stays until the window is closed.

    Raises:
        RobosacError: if there is no display.
    """
    upcoming = iter(scenes)
    first = next(upcoming)  # what is wrong with the data is reported before a window opens
    o3d = open3d()
    window = o3d.visualization.Visualizer()
    if not window.create_window(f"robosac: {first[1]}", width=1400, height=900):
        raise RobosacError("expected a display for the window, got none; give --out FILE.png for a picture")
    look = window.get_render_option()
    look.point_size, look.background_color = 1.5, np.array(_BACKGROUND[:3])
    for position, (scene, title) in enumerate(chain([first], upcoming)):
        print(title)
        window.clear_geometries()
        for geometry in _geometries(o3d, scene):
            window.add_geometry(geometry, reset_bounding_box=position == 0)
        if position == 0:
            control = window.get_view_control()
            control.set_front((_EYE_M / np.linalg.norm(_EYE_M)).tolist())
            control.set_lookat([5.0, 0.0, 0.0])
            control.set_up([0.0, 0.0, 1.0])
            control.set_zoom(0.25)
        if not window.poll_events():  # closed
            return
        window.update_renderer()
    window.run()
    window.destroy_window()


def render(scene: Scene3D, path: Path, *, width: int = 1600, height: int = 1000) -> Path:
    """Draw the scene without a display and write it as PNG, whole or not at all."""
    o3d = open3d()
    rendering = o3d.visualization.rendering
    try:
        renderer = rendering.OffscreenRenderer(width, height)
    except RuntimeError as error:
        raise RobosacError(
            f"Open3D cannot draw without a display here: {error}; apt-get install libvulkan1 mesa-vulkan-drivers"
        ) from error
    renderer.scene.set_background(_BACKGROUND)
    renderer.scene.view.set_post_processing(False)  # tone mapping would wash the colours out
    for k, (geometry, shader) in enumerate(zip(_geometries(o3d, scene), ("defaultUnlit", "unlitLine"), strict=True)):
        material = rendering.MaterialRecord()
        material.shader, material.point_size, material.line_width = shader, 1.8, 2.0
        renderer.scene.add_geometry(f"part {k}", geometry, material)
    renderer.setup_camera(50.0, [5.0, 0.0, 0.0], _EYE_M.tolist(), [0.0, 0.0, 1.0])
    write_whole(path, png(np.asarray(renderer.render_to_image())))
    return path


def png(image: Any) -> bytes:
    """An image `(H, W, 3)` uint8 as PNG."""
    import io

    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, image, format="png")
    return stream.getvalue()


def _geometries(o3d: Any, scene: Scene3D) -> list[Any]:
    """Open3D's point cloud and line set of a scene."""
    vectors = o3d.utility
    cloud = o3d.geometry.PointCloud(vectors.Vector3dVector(scene.points))
    cloud.colors = vectors.Vector3dVector(scene.point_colours)
    ends = scene.segments.reshape(-1, 3)
    lines = o3d.geometry.LineSet(
        vectors.Vector3dVector(ends), vectors.Vector2iVector(np.arange(len(ends), dtype=np.int32).reshape(-1, 2))
    )
    lines.colors = vectors.Vector3dVector(scene.segment_colours)
    return [cloud, lines]
