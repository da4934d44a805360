"""Groups of regions, and the bands of a large plane."""

from keras import ops

from keras_rmi import _backend_blocks
from keras_rmi.ops.regions import group_step


def regions_in_group(planes, radius):
    """Regions in a group, one where there are not enough."""
    step, height = group_step(radius), planes.shape[-2]
    if height is not None and height - radius[0] + 1 < step:
        return 1
    return step


class Bands:
    """How the groups of planes (..., h, w) go: `layout`, and what remains.

    `layout` is (bands, rows, overlap) of `_backend_blocks.sum_bands`: band k
    begins in row `k * rows`, the last rows of its last region overlap the
    next band. Planes of unknown size are one band. Bands that differ in
    height would need a loop each, so a height is chosen that leaves the
    fewest regions.
    """

    def __init__(self, planes, radius, step):
        self.radius, self.step = radius, step
        height, width = planes.shape[-2:]
        size = 8 * (radius[0] + step - 1) * radius[1] * (width or 1)
        self.plane_bytes = size * ((height or step) // step)
        self.layout = (1, None, radius[0] - 1)
        if height is None or width is None:
            return
        groups = (height - radius[0] + 1) // step
        most = max(_backend_blocks.band_bytes(planes) // size, step)
        if groups > most:
            count = min(
                range(most, most // 2, -1), key=lambda count: groups % count
            )
            self.layout = (groups // count, count * step, radius[0] - 1)

    def rows(self, pair):
        """The number of regions, one below the other, in all bands."""
        bands, rows, _ = self.layout
        if rows is not None:
            return bands * rows
        regions = ops.shape(pair)[-2] - self.radius[0] + 1
        return regions // self.step * self.step

    def rest(self, pair):
        """Rows of the regions in no band, or None."""
        rows, height = self.rows(pair), pair.shape[-2]
        none = self.step == 1 and self.layout[1] is None
        if none or (height and rows == height - self.radius[0] + 1):
            return None
        return pair[..., rows:, :]
