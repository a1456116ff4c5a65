import numpy as np
import pytest

from dae_pacs.denoise.tiles import cut


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (512, 512), (513, 777), (2000, 2500), (3, 9000)])
@pytest.mark.parametrize("most_pixels", [1 << 13, 1 << 16, 1 << 20])
def test_kept_parts_cover_every_pixel_once(shape, most_pixels):
    covered = np.zeros(shape, dtype=int)
    for tile in cut(shape, most_pixels=most_pixels, overlap_px=20, grid_px=8):
        covered[tile.rows.kept, tile.columns.kept] += 1
    assert (covered == 1).all()


def test_tiles_fit_see_beyond_what_they_keep_and_begin_on_the_grid():
    for tile in cut((2000, 2500), most_pixels=1 << 18, overlap_px=60, grid_px=8):
        for span, length in ((tile.rows, 2000), (tile.columns, 2500)):
            assert span.seen.start % 8 == 0
            assert span.seen.start in {0, span.kept.start - 64}
            assert span.seen.stop in {length, span.kept.stop + 64}
            assert span.kept_in_seen.stop - span.kept_in_seen.start == span.kept.stop - span.kept.start
        rows, columns = (span.seen.stop - span.seen.start for span in (tile.rows, tile.columns))
        assert rows * columns <= 1 << 18


def test_an_image_that_fits_stays_whole():
    (tile,) = cut((512, 700), most_pixels=1 << 20, overlap_px=60, grid_px=8)
    assert tile.rows.seen == slice(0, 512)
    assert tile.columns.kept == slice(0, 700)


def test_overlaps_cost_little_of_a_large_image():
    tiles = cut((2000, 2500), most_pixels=1 << 20, overlap_px=64, grid_px=8)
    seen = sum(
        (t.rows.seen.stop - t.rows.seen.start) * (t.columns.seen.stop - t.columns.seen.start) for t in tiles
    )
    assert seen < 1.2 * 2000 * 2500


def test_where_nothing_fits_the_finest_cut_is_taken():
    assert len(cut((64, 64), most_pixels=1, overlap_px=8, grid_px=8)) == 64
