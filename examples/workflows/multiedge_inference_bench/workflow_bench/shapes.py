"""Pictures of coloured shapes on noisy grounds, and clips in which such shapes move. Everything is drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(3, height, width)"""
SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
FRAME_PIXELS, CROP_PIXELS = 96, 32
LEAST_CONTRAST = 70.0


@dataclass(frozen=True)
class Body:
    """A shape at a place, in pixels; `dx` and `dy` are pixels and `spin` radians from one frame to the next."""

    shape: int
    x: float
    y: float
    radius: float
    angle: float
    colour: tuple[float, float, float]
    dx: float = 0.0
    dy: float = 0.0
    spin: float = 0.0


def covers(shape: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a shape of radius 1 around the origin covers the points (u, v)."""
    distance = np.hypot(u, v)
    if shape == "circle":
        return distance < 0.9
    if shape == "square":
        return np.maximum(abs(u), abs(v)) < 0.78
    if shape == "triangle":
        return (v < 0.55) & (v > -0.95 + 1.75 * abs(u))
    if shape == "cross":
        return ((abs(u) < 0.28) | (abs(v) < 0.28)) & (np.maximum(abs(u), abs(v)) < 0.9)
    if shape == "ring":
        return (distance < 0.95) & (distance > 0.55)
    return distance < 0.62 + 0.36 * np.cos(5 * np.arctan2(v, u))


def draw(picture: Picture, body: Body, strength: float = 1.0) -> None:
    """Draws a body onto a picture, mixed with what is there by `strength`."""
    rows, columns = np.mgrid[: picture.shape[1], : picture.shape[2]]
    across, down = (columns - body.x) / body.radius, (rows - body.y) / body.radius
    cos, sin = np.cos(body.angle), np.sin(body.angle)
    inside = covers(SHAPES[body.shape], cos * across + sin * down, cos * down - sin * across)
    for channel, value in enumerate(body.colour):
        mixed = strength * value + (1 - strength) * picture[channel][inside]
        picture[channel][inside] = mixed.astype(np.uint8)


def ground(generator: Generator, pixels: int) -> tuple[Picture, NDArray[np.float64]]:
    """A noisy picture of about one colour, and that colour."""
    colour = generator.uniform(40, 215, 3)
    noise = generator.normal(0.0, 12.0, (3, pixels, pixels))
    return np.clip(colour[:, None, None] + noise, 0, 255).astype(np.uint8), colour


def contrasting(generator: Generator, colour: NDArray[np.float64]) -> tuple[float, float, float]:
    """A colour that differs from another one."""
    while True:
        drawn = generator.uniform(0, 255, 3)
        if np.abs(drawn - colour).max() > LEAST_CONTRAST:
            return float(drawn[0]), float(drawn[1]), float(drawn[2])


def noisy_picture(generator: Generator, noise: float) -> tuple[Picture, int]:
    """One shape, (3, 32, 32), faint and under noise of this standard deviation, and its class."""
    pixels = CROP_PIXELS
    picture, colour = ground(generator, pixels)
    x, y = generator.uniform(0.4 * pixels, 0.6 * pixels, 2)
    shape, radius = int(generator.integers(len(SHAPES))), generator.uniform(8, 14)
    body = Body(shape, x, y, radius, generator.uniform(0, 2 * np.pi), contrasting(generator, colour))
    draw(picture, body, strength=generator.uniform(0.5, 1.0))
    noisy = picture + generator.normal(0.0, noise, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), shape


def scene(generator: Generator, most_bodies: int = 4) -> tuple[list[Body], NDArray[np.float64]]:
    """Bodies apart from each other, at most so many, none in some scenes, and the colour of the ground."""
    colour = generator.uniform(40, 215, 3)
    bodies: list[Body] = []
    for _ in range(int(generator.integers(most_bodies + 1))):
        radius = generator.uniform(8, 13)
        x, y = generator.uniform(radius, FRAME_PIXELS - radius, 2)
        if all(np.hypot(x - other.x, y - other.y) > radius + other.radius + 2 for other in bodies):
            dx, dy = generator.uniform(-4, 4, 2)
            shape, spin = int(generator.integers(len(SHAPES))), generator.uniform(-0.2, 0.2)
            angle = generator.uniform(0, 2 * np.pi)
            bodies.append(Body(shape, x, y, radius, angle, contrasting(generator, colour), dx, dy, spin))
    return bodies, colour


def frame_of(generator: Generator, bodies: list[Body], colour: NDArray[np.float64]) -> Picture:
    """A picture of the bodies, with noise."""
    noise = generator.normal(0.0, 12.0, (3, FRAME_PIXELS, FRAME_PIXELS))
    picture = np.clip(colour[:, None, None] + noise, 0, 255).astype(np.uint8)
    for body in bodies:
        draw(picture, body)
    return picture


def clip(generator: Generator, frames: int) -> Iterator[tuple[Picture, list[Body]]]:
    """The frames of a clip, each with its bodies: they move on straight lines, and turn back at the edges and before others."""
    bodies, colour = scene(generator)
    for _ in range(frames):
        yield frame_of(generator, bodies, colour), bodies
        bodies = moved(bodies)


def moved(bodies: list[Body]) -> list[Body]:
    """The bodies one frame later."""
    later: list[Body] = []
    for number, body in enumerate(bodies):
        others = [*later, *bodies[number + 1 :]]
        step = _bounced(body)
        near = any(np.hypot(step.x - each.x, step.y - each.y) < step.radius + each.radius + 1 for each in others)
        later.append(replace(body, dx=-body.dx, dy=-body.dy, angle=body.angle + body.spin) if near else step)
    return later


def _bounced(body: Body) -> Body:
    dx, dy = body.dx, body.dy
    if not body.radius <= body.x + dx <= FRAME_PIXELS - body.radius:
        dx = -dx
    if not body.radius <= body.y + dy <= FRAME_PIXELS - body.radius:
        dy = -dy
    return replace(body, x=body.x + dx, y=body.y + dy, dx=dx, dy=dy, angle=body.angle + body.spin)


def counts_of(bodies: list[Body]) -> tuple[int, ...]:
    """How many bodies of each shape there are."""
    return tuple(sum(body.shape == shape for body in bodies) for shape in range(len(SHAPES)))
