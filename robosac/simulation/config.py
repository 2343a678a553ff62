"""Settings of the simulated world: what is drawn, who is connected, what the sensors are like."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from robosac.errors import did_you_mean
from robosac.simulation.sensors import Sensor, evenly
from robosac.simulation.sumo import libsumo
from robosac.simulation.variety import Variety
from robosac.types import InputError

KINDS: Final = ("intersection", "urban", "highway")
TRAFFIC: Final = ("drawn", "sumo")
SPLITS: Final = ("train", "val", "calibration", "test")

_SHARES: Final = {
    "mixed": (0.50, 0.35, 0.15),
    "intersection": (1.0, 0.0, 0.0),
    "urban": (0.0, 1.0, 0.0),
    "highway": (0.0, 0.0, 1.0),
}


@dataclass(frozen=True)
class SimConfig:
    """Settings of a simulated data set; the defaults follow the paper's (V2X-Sim: 5 vehicles and a road-side unit).

    Attributes:
        shares: probability of each of `KINDS` (intersection, urban, highway).
        n_vehicles: connected vehicles, the ego included; a tuple is a choice drawn for each scenario.
        roadside: whether a road-side unit takes part.
        comm_range_m: who is further from the ego than this is not its teammate. Beyond about 55 m a teammate no
            longer overlaps an ego map of +-38.4 m.
        n_frames, rate_hz: length of a scenario and its frame rate.
        beams, columns: rays of a LiDAR scan, in elevation and azimuth.
        elevation_min_deg, elevation_max_deg: vertical field of view.
        max_range_m: no return comes from further away.
        range_sigma_m: standard deviation of the range noise, along the ray.
        drop_rate: probability that a return is lost whatever its power.
        faint_power: returns weaker than about this (reflectivity x cos(incidence) at 20 m) are lost, softly.
        roadside_height_m: height of the road-side unit's sensor above the ground.
        sensor_tilt_deg: largest mounting error of a sensor, in roll and in pitch.
        max_grade: steepest slope of the ground; 0 makes the world flat.
        pose_noise_xy_m, pose_noise_yaw_deg: standard deviations of the measured poses' error.
        truth_range_m: `Truth` holds the objects whose centres are no further from the ego than this.
        variety: what differs from scenario to scenario; None for one world and one sensor. With it, every sensor is
            drawn, and the settings of a LiDAR and `max_grade` above play no role.
        traffic: "drawn", vehicles on lanes at constant speeds, or "sumo", moved by SUMO on the crossing that is
            shipped: an intersection, without a variety.
    """

    shares: tuple[float, float, float] = _SHARES["mixed"]
    n_vehicles: int | tuple[int, ...] = 5
    roadside: bool = True
    comm_range_m: float = 55.0
    n_frames: int = 10
    rate_hz: float = 10.0
    beams: int = 32
    columns: int = 1024
    elevation_min_deg: float = -25.0
    elevation_max_deg: float = 5.0
    max_range_m: float = 70.0
    range_sigma_m: float = 0.02
    drop_rate: float = 0.04
    faint_power: float = 0.003
    roadside_height_m: float = 5.5
    sensor_tilt_deg: float = 1.0
    max_grade: float = 0.03
    pose_noise_xy_m: float = 0.0
    pose_noise_yaw_deg: float = 0.0
    truth_range_m: float = 60.0
    variety: Variety | None = None
    traffic: str = "drawn"

    def __post_init__(self) -> None:
        if len(self.shares) != len(KINDS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise InputError(f"expected shares to be a probability for each of {KINDS}, got {self.shares}")
        if not self.vehicle_counts or min(self.vehicle_counts) < 1:
            raise InputError(f"expected n_vehicles to be one or several counts >= 1, got {self.n_vehicles}")
        for name in ("n_frames", "beams", "columns"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {name} to be >= 1, got {getattr(self, name)}")
        for name in ("comm_range_m", "rate_hz", "max_range_m", "roadside_height_m", "truth_range_m"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"expected {name} to be positive and finite, got {getattr(self, name)}")
        for name in ("range_sigma_m", "faint_power", "pose_noise_xy_m", "pose_noise_yaw_deg"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"expected {name} to be >= 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.drop_rate < 1:
            raise InputError(f"expected drop_rate to be in [0, 1), got {self.drop_rate}")
        if not -90 < self.elevation_min_deg <= self.elevation_max_deg < 90:
            span = (self.elevation_min_deg, self.elevation_max_deg)
            raise InputError(f"expected elevations in (-90, 90) degrees, lowest first, got {span}")
        if not 0 <= self.max_grade <= 0.1 or not 0 <= self.sensor_tilt_deg <= 5:
            got = (self.max_grade, self.sensor_tilt_deg)
            raise InputError(f"expected max_grade in [0, 0.1] and sensor_tilt_deg in [0, 5], got {got}")
        if self.traffic not in TRAFFIC:
            raise InputError(f"expected traffic to be one of {', '.join(TRAFFIC)}, got {self.traffic!r}")
        if self.traffic == "sumo" and (self.variety is not None or self.shares != _SHARES["intersection"]):
            raise InputError(
                f"expected shares {_SHARES['intersection']} and no variety with traffic 'sumo', which has one place, "
                f"got shares {self.shares} and variety {self.variety}; start from SimConfig.preset('sumo')"
            )

    @property
    def vehicle_counts(self) -> tuple[int, ...]:
        """The counts of connected vehicles a scenario may have."""
        return (self.n_vehicles,) if isinstance(self.n_vehicles, int) else self.n_vehicles

    @property
    def sensor(self) -> Sensor:
        """The LiDAR of every agent, where there is no variety."""
        return Sensor(
            elevations_deg=evenly(self.beams, self.elevation_min_deg, self.elevation_max_deg),
            columns=self.columns,
            max_range_m=self.max_range_m,
            range_sigma_m=self.range_sigma_m,
            drop_rate=self.drop_rate,
            faint_power=self.faint_power,
        )

    @property
    def made_with(self) -> dict[str, str]:
        """What else decides scenes, by name: versions of what moves the vehicles."""
        if self.traffic != "sumo":
            return {}
        try:
            return {"libsumo": version("libsumo")}
        except PackageNotFoundError:
            libsumo()  # says what to install, unless it came with the system
            return {"libsumo": "of the system"}

    @classmethod
    def preset(cls, name: str) -> SimConfig:
        """The settings of a name among `PRESETS`.

        - "mixed", "intersection", "urban", "highway": the defaults with these kinds of place;
        - "road": roads and sensors of every kind, two to four vehicles, now and then a road-side unit, see `Variety`;
        - "road-pair": as "road", two vehicles and nobody else;
        - "road-unit": as "road", one vehicle and a road-side unit;
        - "road-rain": as "road", in rain;
        - "sumo": the settings of "intersection", traffic by SUMO. It needs the extra sumo.

        Raises:
            InputError: there is none of that name, or what it needs is not installed.
        """
        if name not in PRESETS:
            close = did_you_mean(name, PRESETS)
            raise InputError(f"expected a preset among {', '.join(PRESETS)}, got {name!r}{close}")
        if PRESETS[name].get("traffic") == "sumo":
            libsumo()  # what is missing is reported before any work
        return cls(**PRESETS[name])


_ROAD: Final[dict[str, Any]] = {
    "shares": (0.45, 0.35, 0.2),
    "n_vehicles": (2, 3, 3, 4),
    "comm_range_m": 70.0,
    "truth_range_m": 100.0,
    "pose_noise_xy_m": 0.1,
    "pose_noise_yaw_deg": 0.1,
    "variety": Variety(),
}
PRESETS: Final[dict[str, dict[str, Any]]] = {
    **{name: {"shares": shares} for name, shares in _SHARES.items()},
    "road": _ROAD,
    "road-pair": {**_ROAD, "n_vehicles": 2, "roadside": False},
    "road-unit": {**_ROAD, "n_vehicles": 1, "variety": Variety(roadside=1.0)},
    "road-rain": {**_ROAD, "variety": Variety(rain=1.0)},
    "sumo": {"shares": _SHARES["intersection"], "traffic": "sumo"},
}
